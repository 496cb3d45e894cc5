#include "island/search.h"

#define HEAP_MIN_MB 256
#define HEAP_MAX_MB (31 * 1024)

bool search_is_opensearch(const char *image)
{
    const char *slash = strrchr(image, '/');

    return strstr(slash ? slash : image, "opensearch") != NULL;
}

const char *search_user(const char *image)
{
    return search_is_opensearch(image) ? "admin" : "elastic";
}

/* "registry.example/", "localhost:5000/". */
static bool has_registry(const char *image)
{
    size_t n = strcspn(image, "/");

    return image[n] && n > 0 &&
           (memchr(image, '.', n) || memchr(image, ':', n) || strncmp(image, "localhost", n) == 0);
}

const char *search_image_why(const char *image)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-/:@";
    const char *slash = strrchr(image, '/');
    const char *name = slash ? slash + 1 : image, *digest = strchr(name, '@');

    if (starts_with(image, "oci-archive:"))
        return "a search server's image comes from a registry, not from a file";
    if (strspn(image, letters) != strlen(image))
        return "an image's name has a-z, 0-9, dots, dashes and slashes";
    if (!has_registry(image))
        return "give it with its registry: " SEARCH_IMAGE
               ", docker.io/opensearchproject/opensearch";
    if (!*name || strstr(image, "//") || strchr("._-@:", *name))
        return "the part behind the last slash is no name";
    if (digest && (!starts_with(digest, "@sha256:") || strlen(digest) != 72 ||
                   strspn(digest + 8, "0123456789abcdef") != 64))
        return "a digest is @sha256: and 64 digits of 0-9 and a-f";
    if (!digest && strchr(name, ':'))
        return "the tag goes into search.version";
    return NULL;
}

int search_heap_mb(int64_t memory_mb, bool alone)
{
    int64_t heap = memory_mb / (alone ? 2 : 4);

    return (int)MAX(HEAP_MIN_MB, MIN(heap, HEAP_MAX_MB));
}
