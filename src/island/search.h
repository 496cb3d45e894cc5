/* The search server: which images can be one, and how much memory it takes. Pure.
 *
 * Elasticsearch and OpenSearch are known by their image's name; each has its own user of all rights
 * and its own words for the same settings (host/role_search.c). What an image is called is said by
 * whoever packs it, so `opensearch` anywhere in the last part of the name is OpenSearch, and all
 * else is taken for Elasticsearch.
 */
#pragma once
#include "base/util.h"
#include <stdint.h>

/* What the compose file of Mastodon 4.7 names (mastodon.md 3.5). */
#define SEARCH_IMAGE "docker.elastic.co/elasticsearch/elasticsearch"
#define SEARCH_VERSION "8.19.17"

bool search_is_opensearch(const char *image);
/* Who may do everything in it: ES_USER. */
const char *search_user(const char *image);
/* Why this can't be an image of a search server, in words with what to write instead; NULL: it can.
 * A name without its registry is refused: podman would ask a person which one is meant. */
const char *search_image_why(const char *image);
/* Megabytes for -Xms and -Xmx on a server with so many: half of them where nothing else runs there,
 * else a quarter; never more than 31 GB, up to which Java's pointers are short, nor less than 256
 * MB, without which it does not start. memory_mb <= 0: not known, the least. */
int search_heap_mb(int64_t memory_mb, bool alone);
