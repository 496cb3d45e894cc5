/* The island file: what is accepted with which defaults, and what is refused in which words. */
#include "io/file.h"
#include "island/island.h"
#include <setjmp.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "island: reef\ndomain: reef.example\ncloud: catalyst\nrelease: {canary: true}\n"
#define DB "  db: {flavor: small, roles: [postgres, redis], volume: {size: 50GB}}\n"
#define SERVERS "servers:\n  web: {flavor: small, roles: [edge, web, worker]}\n" DB

static void minimal(void **state)
{
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(err_clear) Err err = {0};

    (void)state;
    assert_int_equal(island_parse("reef.yaml", STR_LIT(HEAD SERVERS), &i, &err), 0);
    assert_string_equal(i.path, "reef.yaml");
    assert_string_equal(i.name, "reef");
    assert_string_equal(i.domain, "reef.example");
    assert_string_equal(i.cloud, "catalyst");
    assert_string_equal(i.image, "debian-12");
    assert_int_equal(i.release.kind, RELEASE_CANARY);
    assert_string_equal(i.network.external, "");
    assert_string_equal(i.network.cidr, "10.77.0.0/24");
    assert_int_equal(i.network.dns.len, 0);
    assert_int_equal(i.edge.http, 80);
    assert_int_equal(i.edge.https, 0);
    assert_string_equal(i.edge.tls_certificate, "");
    assert_string_equal(i.media.container, "reef-media");
    assert_string_equal(i.media.cloud, "");
    assert_string_equal(i.media.isolation, "none");
    assert_string_equal(i.media.role, "media");
    assert_string_equal(i.media.url, "");
    assert_int_equal(i.n_tiers, 2);
    assert_string_equal(i.tiers[0].name, "web");
    assert_int_equal(i.tiers[0].count, 1);
    assert_int_equal(i.tiers[0].roles,
                     ROLE_BIT(ROLE_EDGE) | ROLE_BIT(ROLE_WEB) | ROLE_BIT(ROLE_WORKER));
    assert_int_equal(i.tiers[0].processes[ROLE_WORKER], 1);
    assert_int_equal(i.tiers[0].threads[ROLE_WEB], 5);
    assert_int_equal(i.tiers[0].volume_gb, 0);
    assert_int_equal(i.tiers[1].volume_gb, 50);
    assert_string_equal(i.tiers[1].volume_type, "");
    assert_int_equal(island_count(&i), 2);
    assert_ptr_equal(island_tier(&i, "db"), &i.tiers[1]);
    assert_null(island_tier(&i, "nobody"));
}

static void streaming_is_atolls_or_nodes(void **state)
{
    static const struct {
        const char *release;
        bool node;
    } rows[] = {{"canary: true", false},
                {"canary: true, stream: atoll", false},
                {"image: ghcr.io/mastodon/mastodon, version: v4.7.6", false},
                {"image: ghcr.io/mastodon/mastodon, version: v4.7.6, stream: node", true}};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        _cleanup_(island_clear) Island i = {0};
        _cleanup_free_ char *text = xasprintf(
            "island: reef\ndomain: reef.example\ncloud: catalyst\nrelease: {%s}\nservers:\n"
            "  all: {flavor: small, roles: [edge, web, stream, worker, postgres, redis], "
            "volume: {size: 50GB}}\n",
            rows[k].release);

        assert_int_equal(island_parse("reef.yaml", str_of(text), &i, NULL), 0);
        assert_int_equal(island_streams_node(&i), rows[k].node);
        assert_true(i.tiers[0].roles & ROLE_BIT(ROLE_STREAM));
    }
}

static void everything(void **state)
{
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(err_clear) Err err = {0};
    _cleanup_free_ char *first = NULL, *scheduler = NULL, *none = NULL;
    static const char text[] =
        "island: my-reef\n"
        "domain: xn--rf-fkaa.example\n"
        "cloud: pocket\n"
        "image: debian-13\n"
        "release: {image: ghcr.io/mastodon/mastodon, version: v4.7.6}\n"
        "network: {external: wan, dns: [1.1.1.1, '2001:db8::1']}\n"
        "edge: {http: 8080, tls: {certificate: /c.pem, key: /k.pem}}\n"
        "servers:\n"
        "  all: {flavor: a, roles: [edge, web, redis, postgres], volume: {size: 1TB, type: nvme},\n"
        "        processes: {web: 3}, threads: {web: 10}}\n"
        "  jobs: {flavor: b, count: 3, roles: [worker], processes: {worker: 2}}\n"
        "  cron: {flavor: c, roles: [worker], queues: [scheduler, mailers], threads: {worker: 1}}\n"
        "media: {container: user-uploads, cloud: pocket-media, role: up, url: "
        "'https://m.example'}\n"
        "env:\n"
        "  SMTP_SERVER: mail.example\n"
        "  OTP_SECRET: {secret: secret_key_base}\n"
        "  SINGLE_USER_MODE: yes\n"
        "ssh_keys: ['ssh-ed25519 AAAA jo']\n";

    (void)state;
    if (island_parse("reef.yaml", str_of(text), &i, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(i.release.kind, RELEASE_IMAGE);
    assert_string_equal(i.release.version, "v4.7.6");
    assert_string_equal(i.network.cidr, "127.77.0.0/24");
    assert_string_equal(i.network.dns.items[1], "2001:db8::1");
    assert_int_equal(i.edge.http, 8080);
    assert_int_equal(i.edge.https, 443);
    assert_string_equal(i.edge.tls_key, "/k.pem");
    assert_int_equal(i.tiers[0].volume_gb, 1000);
    assert_string_equal(i.tiers[0].volume_type, "nvme");
    assert_int_equal(i.tiers[0].processes[ROLE_WEB], 3);
    assert_int_equal(i.tiers[0].threads[ROLE_WEB], 10);
    assert_int_equal(i.tiers[1].count, 3);
    assert_int_equal(i.tiers[1].processes[ROLE_WORKER], 2);
    assert_int_equal(i.tiers[2].threads[ROLE_WORKER], 1);
    assert_string_equal(i.tiers[2].queues.items[0], "scheduler");
    assert_string_equal(i.media.isolation, "project");
    assert_string_equal(i.media.url, "https://m.example");
    assert_int_equal(i.env.len, 3);
    assert_string_equal(i.env.items[0].value, "mail.example");
    assert_null(i.env.items[0].secret);
    assert_string_equal(i.env.items[1].secret, "secret_key_base");
    assert_null(i.env.items[1].value);
    /* Text as it stands, not YAML's idea of a boolean. */
    assert_string_equal(i.env.items[2].value, "yes");
    first = island_first_server(&i, ROLE_WORKER);
    assert_string_equal(first, "jobs.0");
    scheduler = island_scheduler(&i);
    assert_string_equal(scheduler, "cron.0");
    none = island_first_server(&i, ROLE_SEARCH);
    assert_null(none);
    assert_int_equal(island_count(&i), 5);
    assert_true(island_is_pocket(&i));
}

static void hours(void **state)
{
    static const TierHours expected[] = {{0x60, 18 * 60, 23 * 60 + 30, 3}, {0x7f, 0, 0, 2}};
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(err_clear) Err err = {0};
    const Tier *jobs;

    (void)state;
    if (island_parse("reef.yaml",
                     STR_LIT(HEAD SERVERS
                             "  jobs: {flavor: s, roles: [worker], scale: {max: 3, calendar: [\n"
                             "    {from: 18:00, to: '23:30', days: [fri, sat], min: 3},\n"
                             "    {from: 00:00, to: 24:00, min: 2}]}}\n"),
                     &i, &err) < 0)
        fail_msg("%s", err.text);
    jobs = island_tier(&i, "jobs");
    assert_int_equal(jobs->scale.calendar.len, ARRAY_LEN(expected));
    for (size_t k = 0; k < ARRAY_LEN(expected); k++)
        assert_memory_equal(&jobs->scale.calendar.items[k], &expected[k], sizeof expected[k]);
}

/* `with` replaces the first `replace` in a right file; the message is whole. */
static const struct {
    const char *replace, *with, *text, *hint;
} refused[] = {
    /* Keys. */
    {"domain:", "domian:", "reef.yaml:2:1: unknown key \"domian\": did you mean \"domain\"?",
     "allowed: island, domain, cloud, image, release, owner, search, network, servers, moved, "
     "edge, "
     "media, backup, control, env, environments, ssh_keys"},
    {"flavor: small, roles: [edge", "flavour: small, roles: [edge",
     "reef.yaml:6:9: unknown key \"flavour\" in servers.web: did you mean \"flavor\"?",
     "allowed: flavor, roles, count, processes, threads, queues, volume, scale"},
    {"size: 50GB", "size: 50GB, colour: red",
     "reef.yaml:7:70: unknown key \"colour\" in servers.db.volume", "allowed: size, type"},
    {"domain: reef.example\n", "", "reef.yaml:1:1: domain is missing",
     "it must be a domain name: lower case, at least one dot, no https://, xn--... for others"},
    {"flavor: small, roles: [edge", "roles: [edge", "reef.yaml:6:3: servers.web.flavor is missing",
     "it must be a flavor's name: as `openstack flavor list` shows it"},
    {"volume: {size: 50GB}", "volume: {type: nvme}",
     "reef.yaml:7:49: servers.db.volume.size is missing",
     "it must be a size with its unit: whole GB, such as 50GB"},
    {"servers:", "servers: []\nenv:", "reef.yaml:5:10: servers is a list; it must be a map",
     "allowed: tiers by name"},
    {"  db:", "  web:", NULL, NULL},
    /* Values. */
    {"island: reef", "island: Reef", "reef.yaml:1:9: island is \"Reef\"; it must be a name",
     "allowed: up to 21 of a-z, 0-9 and inner dashes, a letter first"},
    {"island: reef", "island: reef-", "reef.yaml:1:9: island is \"reef-\"; it must be a name",
     NULL},
    {"island: reef", "island: abcdefghijklmnopqrstuv",
     "reef.yaml:1:9: island is \"abcdefghijklmnopqrstuv\"; it must be a name", NULL},
    {"domain: reef.example", "domain: https://reef.example",
     "reef.yaml:2:9: domain is \"https://reef.example\"; it must be a domain name",
     "allowed: lower case, at least one dot, no https://, xn--... for others"},
    {"domain: reef.example", "domain: reef",
     "reef.yaml:2:9: domain is \"reef\"; it must be a domain "
     "name",
     NULL},
    {"domain: reef.example", "domain: 10.0.0.1",
     "reef.yaml:2:9: domain is \"10.0.0.1\"; it must be a domain name", NULL},
    {"domain: reef.example", "domain: reef..example",
     "reef.yaml:2:9: domain is \"reef..example\"; it must be a domain name", NULL},
    {"domain: reef.example", "domain: -reef.example",
     "reef.yaml:2:9: domain is \"-reef.example\"; it must be a domain name", NULL},
    {"domain: reef.example", "domain: ''",
     "reef.yaml:2:9: domain is empty; it must be a domain name", NULL},
    {"size: 50GB", "size: 50",
     "reef.yaml:7:64: servers.db.volume.size is \"50\"; it must be a size with its unit",
     "allowed: whole GB, such as 50GB"},
    {"size: 50GB", "size: 500MB",
     "reef.yaml:7:64: servers.db.volume.size is \"500MB\"; it must be a size with its unit", NULL},
    {"size: 50GB", "size: 50 gigs",
     "reef.yaml:7:64: servers.db.volume.size is \"50 gigs\"; it must be a size with its unit",
     NULL},
    {"[edge, web, worker]", "[edge, web, worker], count: 0",
     "reef.yaml:6:59: servers.web.count is \"0\"; it must be a number", "allowed: 1 to 64"},
    {"[edge, web, worker]", "[edge, web, worker], count: [1]",
     "reef.yaml:6:59: servers.web.count is a list; it must be a number", "allowed: 1 to 64"},
    {"[edge, web, worker]", "[edge, web, worker], processes: {worker: 33}",
     "reef.yaml:6:72: servers.web.processes.worker is \"33\"; it must be a number",
     "allowed: 1 to 32"},
    {"[edge, web, worker]", "[edge, web, worker], processes: {wroker: 2}",
     "reef.yaml:6:64: unknown role \"wroker\": did you mean \"worker\"?", "allowed: web, worker"},
    {"[edge, web, worker]", "[edge, web, worker], threads: {redis: 2}",
     "reef.yaml:6:62: role \"redis\" has no number of its own here", "allowed: web, worker"},
    {"[edge, web, worker]", "[edge, web, workers]",
     "reef.yaml:6:43: unknown role \"workers\": did you mean \"worker\"?",
     "allowed: edge, web, stream, worker, redis, postgres, search, control"},
    {"[edge, web, worker]", "[edge, web, worker, web]",
     "reef.yaml:6:51: role \"web\" is in the list twice", NULL},
    {"[edge, web, worker]", "[]",
     "reef.yaml:6:31: servers.web.roles is a list; it must be a list of "
     "roles",
     "allowed: edge, web, stream, worker, redis, postgres, search"},
    {"  web:", "  Web:", "reef.yaml:6:3: \"Web\" can't be the name of servers",
     "allowed: up to 16 of a-z and 0-9, a letter first, no dash"},
    {"  web:", "  we-b:", "reef.yaml:6:3: \"we-b\" can't be the name of servers", NULL},
    {"  web:", "  abcdefghijklmnopq:",
     "reef.yaml:6:3: \"abcdefghijklmnopq\" can't be the name of servers", NULL},
    {"[postgres, redis]", "[postgres, redis, control]",
     "reef.yaml:7:23: servers.db has the role control and others: it has the island's keys, and "
     "shares its server with nobody",
     "give it a tier of its own, the smallest flavor will do"},
    {"servers:", "control: {}\nservers:",
     "reef.yaml:5:1: control says what a server gets that is not there",
     "servers: {control: {flavor: ..., roles: [control]}}"},
    {"servers:\n", "backup: {cloud: far}\nservers:\n  c: {flavor: s, roles: [control]}\n",
     "reef.yaml:7:3: control.logins.far is missing: which login may the control server have there?",
     "not its owner's: he could destroy what is kept there (doc/control.md)"},
    {"servers:\n", "control: {logins: {fra: b}}\nservers:\n  c: {flavor: s, roles: [control]}\n",
     "reef.yaml:5:20: control.logins.fra: the island has no such cloud",
     "what stands in cloud, media.cloud or backup.cloud"},
    {"servers:", "search: {version: 8.19.0}\nservers:",
     "reef.yaml:5:1: search is given, but no servers carry the role \"search\"",
     "add it to the roles of a tier: search: {flavor: ..., roles: [search]}"},
    {"servers:", "search: {image: elasticsearch}\nservers:",
     "reef.yaml:5:17: search.image \"elasticsearch\" can't be pulled",
     "give it with its registry: docker.elastic.co/elasticsearch/elasticsearch, "
     "docker.io/opensearchproject/opensearch"},
    {"servers:", "search: {image: docker.io/elasticsearch, verson: 8}\nservers:",
     "reef.yaml:5:42: unknown key \"verson\" in search: did you mean \"version\"?", NULL},
    {"servers:", "search: {version: 'a b'}\nservers:",
     "reef.yaml:5:19: search.version is \"a b\"; it must be a version", NULL},
    {"[postgres, redis], volume: {size: 50GB}}",
     "[postgres, redis, search], volume: {size: 50GB}}\nenv: {ES_HOST: else.example}",
     "reef.yaml:8:7: env.ES_HOST is set by atoll: search is the tier with the role search", NULL},
    {"[edge, web, worker]", "[edge, web, worker], scale: {min: 0, max: 8}",
     "reef.yaml:6:52: servers.web can't be scaled: its only role is not worker, nor stream",
     "give the workers, or the streaming servers, a tier of their own"},
    {"servers:\n",
     "servers:\n  push: {flavor: s, roles: [stream], scale: {max: 3, queues: {push: 1m}}}\n",
     "reef.yaml:6:54: servers.push.scale: queues is for tiers of workers", NULL},
    {"servers:\n", "servers:\n  jobs: {flavor: s, roles: [worker], scale: {max: 3, clients: 9}}\n",
     "reef.yaml:6:54: servers.jobs.scale: clients is for tiers of streaming servers", NULL},
    {"servers:\n", "servers:\n  push: {flavor: s, roles: [stream], scale: {min: 0, max: 3}}\n",
     "reef.yaml:6:38: servers.push.scale: min is at least 1", NULL},
    {"servers:\n", "servers:\n  jobs: {flavor: s, roles: [worker], scale: {min: 4, max: 3}}\n",
     "reef.yaml:6:38: servers.jobs.scale: min is more than max", NULL},
    {"servers:\n", "servers:\n  jobs: {flavor: s, roles: [worker], count: 2, scale: {max: 3}}\n",
     "reef.yaml:6:38: servers.jobs has count and scale: one of them", NULL},
    {"servers:\n",
     "servers:\n  jobs: {flavor: s, roles: [worker], queues: [scheduler], scale: {max: 3}}\n",
     "reef.yaml:6:59: servers.jobs takes the scheduler's queue: it can't be scaled", NULL},
    {"servers:\n",
     "servers:\n  jobs: {flavor: s, roles: [worker], scale: {max: 3, queues: {pulls: 3s}}}\n",
     "reef.yaml:6:63: there is no queue \"pulls\" for such servers", "did you mean pull?"},
    {"servers:\n",
     "servers:\n  jobs: {flavor: s, roles: [worker], scale: {max: 3, queues: {pull: 3}}}\n",
     "reef.yaml:6:69: servers.jobs.scale.queues.pull is \"3\"; it must be a span",
     "allowed: 1s to 24h"},
    {"servers:\n",
     "servers:\n  jobs: {flavor: s, roles: [worker], scale: {max: 3, drain: {pull: 2h}}}\n",
     "reef.yaml:6:68: servers.jobs.scale.drain.pull is \"2h\"; it must be a span",
     "allowed: 1s to 1h"},
    {"servers:\n", "servers:\n  jobs: {flavor: s, roles: [worker], scale: {}}\n",
     "reef.yaml:6:38: servers.jobs.scale.max is missing", "it must be a number: 1 to 64"},
#define JOBS(calendar)                                                                             \
    "servers:\n  jobs: {flavor: s, roles: [worker], scale: {max: 3, calendar: " calendar "}}\n"
    {"servers:\n", JOBS("18:00"),
     "reef.yaml:6:64: servers.jobs.scale.calendar is \"18:00\"; it must be a list of maps",
     "allowed: from, to, days, min; at most 16"},
    {"servers:\n", JOBS("[18:00]"),
     "reef.yaml:6:65: servers.jobs.scale.calendar is \"18:00\"; it must be a list of maps", NULL},
    {"servers:\n", JOBS("[{from: 18:00, min: 2}]"),
     "reef.yaml:6:65: servers.jobs.scale.calendar.to is missing",
     "it must be a time of day: 00:00 to 24:00, UTC"},
    {"servers:\n", JOBS("[{from: 18:00, to: 25:00, min: 2}]"),
     "reef.yaml:6:83: servers.jobs.scale.calendar.to is \"25:00\"; it must be a time of day",
     "allowed: 00:00 to 24:00, UTC"},
    {"servers:\n", JOBS("[{from: 18:00, to: 23:00, days: [fri, frei], min: 2}]"),
     "reef.yaml:6:102: unknown day \"frei\": did you mean \"fri\"?",
     "allowed: sun, mon, tue, wed, thu, fri, sat"},
    {"servers:\n", JOBS("[{from: 18:00, to: 23:00, days: [], min: 2}]"),
     "reef.yaml:6:96: servers.jobs.scale.calendar.days is a list; it must be a list of days",
     "allowed: sun, mon, tue, wed, thu, fri, sat"},
    {"servers:\n", JOBS("[{from: 18:00, to: 23:00, min: 2}, {from: 0:00, to: 24:00, min: 1}]"),
     "reef.yaml:6:106: servers.jobs.scale.calendar.from is \"0:00\"; it must be a time of day",
     NULL},
    {"servers:\n", JOBS("[{from: 18:00, to: 23:00, min: 4}]"),
     "reef.yaml:6:90: servers.jobs.scale.calendar: min is more than the tier's max", NULL},
    {"servers:\n", JOBS("[{from: 18:00, to: 23:00, least: 2}]"),
     "reef.yaml:6:90: unknown key \"least\" in servers.jobs.scale.calendar", NULL},
    {"servers:", "backup: {every: 90m}\nservers:",
     "reef.yaml:5:17: backup.every is \"90m\"; it must be a span of hours", "allowed: 1h to 720h"},
    {"servers:", "backup: {container: reef-vault}\nservers:",
     "reef.yaml:5:10: backup.container is \"reef-vault\", which atoll keeps for itself", NULL},
    {"servers:", "backup: {container: reef-media}\nservers:",
     "reef.yaml:5:10: backup.container is \"reef-media\", where media are kept", NULL},
    {"servers:", "backup: {media: {cloud: catalyst, container: reef-media}}\nservers:",
     "reef.yaml:5:35: backup.media is \"reef-media\" of catalyst, where media are kept", NULL},
    {"servers:", "backup: {media: {container: m}}\nservers:",
     "reef.yaml:5:10: backup.media.cloud is missing", NULL},
    /* Release. */
    {"{canary: true}", "{}", "reef.yaml:4:1: release does not say which Mastodon",
     "give one of {image: ..., version: ...}, {tree: ..., version: ...}, {canary: true}"},
    {"{canary: true}", "{canary: true, tree: /srv/m}",
     "reef.yaml:4:1: release names more than one Mastodon", NULL},
    {"{canary: true}", "{canary: false}",
     "reef.yaml:4:19: release.canary is \"false\"; it must be true", "allowed: true"},
    {"{canary: true}", "{image: a/b}", "reef.yaml:4:1: release.version is missing",
     "give the image's tag, or the tree's version, such as v4.7.6"},
    {"{canary: true}", "{tree: srv.tar.gz}", "reef.yaml:4:1: release.version is missing", NULL},
    {"{canary: true}", "{tree: srv.tar.gz, version: 4.7/6}",
     "reef.yaml:4:38: release.version is \"4.7/6\"; it must be a version",
     "allowed: such as v4.7.6: letters, digits, dots, dashes"},
    {"{canary: true}", "{canary: true, stream: puma}",
     "reef.yaml:4:33: release.stream is \"puma\"; it must be atoll or node",
     "allowed: atoll, node"},
    {"{canary: true}", "{canary: true, stream: node}",
     "reef.yaml:4:25: release.stream is \"node\", but the canary has no streaming server",
     "leave it out: atoll serves the streaming API of any release"},
    {"{canary: true}", "{tree: m.tar.gz, version: v4.7.6, stream: node}",
     "reef.yaml:4:44: release.stream is \"node\", but a tree comes without Node", NULL},
    {"{canary: true}", "{image: 'oci-archive:m.tar', version: v4.7.6, stream: node}",
     "reef.yaml:4:56: release.stream is \"node\", but the streaming server has an image of its "
     "own, "
     "which is not in that file",
     NULL},
    {"{canary: true}", "{image: 'a/b@sha256:1', version: v4.7.6, stream: node}",
     "reef.yaml:4:51: release.stream is \"node\", but the streaming server has an image of its "
     "own, "
     "with another digest",
     NULL},
    /* Owner. */
    {"servers:", "owner: {name: admin}\nservers:", "reef.yaml:5:1: owner needs a name and an email",
     NULL},
    {"servers:", "owner: {name: a b, email: a@b.c}\nservers:",
     "reef.yaml:5:15: owner.name is \"a b\"; it must be a name",
     "allowed: letters, digits and _, as in Mastodon"},
    {"servers:", "owner: {name: a, email: -x@b.c}\nservers:",
     "reef.yaml:5:25: owner.email is \"-x@b.c\"; it must be an address", "allowed: name@domain"},
    /* Roles and tiers. */
    {"[edge, web, worker]", "[edge, web]", "reef.yaml:5:1: no servers carry the role \"worker\"",
     "add it to the roles of a tier; an instance needs edge, web, worker, redis and postgres, and "
     "one server may carry them all"},
    {"[edge, web, worker]", "[edge, web, worker, redis]",
     "reef.yaml:7:23: role \"redis\" is carried by servers.web and by servers.db",
     "exactly one server may carry it: take it out of one of them"},
    {"[postgres, redis]", "[postgres, redis], count: 2",
     "reef.yaml:7:49: servers.db would be 2 servers with the role \"redis\"",
     "exactly one server may carry it: count: 1"},
    {", volume: {size: 50GB}", "",
     "reef.yaml:7:3: servers.db carries postgres and has no volume: the database would go with the "
     "server",
     "give it one: volume: {size: 50GB}"},
    {"[postgres, redis]", "[postgres, redis], processes: {web: 2}",
     "reef.yaml:7:61: servers.db does not have the role \"web\"", NULL},
    {"[postgres, redis]", "[postgres, redis], queues: [push]",
     "reef.yaml:7:49: servers.db has queues, but not the role \"worker\"", NULL},
    /* Queues. */
    {"[edge, web, worker]", "[edge, web, worker], queues: [defualt]",
     "reef.yaml:6:61: unknown queue \"defualt\": did you mean \"default\"?",
     "allowed: default, push, ingress, mailers, pull, scheduler, fasp"},
    {"[edge, web, worker]", "[edge, web, worker], queues: [push, push]",
     "reef.yaml:6:67: \"push\" is in the list twice", NULL},
    {"[edge, web, worker]", "[edge, web, worker], queues: [scheduler, default], count: 2",
     "reef.yaml:6:52: the scheduler queue would be taken by 2 processes of servers.web: exactly "
     "one "
     "may; give it to a tier with one process",
     NULL},
    {"[edge, web, worker]", "[edge, web, worker], queues: [scheduler], processes: {worker: 3}",
     "reef.yaml:6:52: the scheduler queue would be taken by 3 processes of servers.web: exactly "
     "one "
     "may; give it to a tier with one process",
     NULL},
    {DB,
     DB "  a: {flavor: x, roles: [worker], queues: [scheduler]}\n"
        "  b: {flavor: x, roles: [worker], queues: [scheduler]}\n",
     "reef.yaml:9:35: the scheduler queue is in servers.a and in servers.b: exactly one process "
     "may "
     "take it",
     NULL},
    {"[edge, web, worker]", "[edge, web, worker], queues: [default, push]",
     "reef.yaml:5:1: nobody takes the queue \"ingress\"",
     "add it to the queues of a tier with the role worker; a tier without queues takes all"},
    /* Network and edge. */
    {"servers:", "network: {cidr: 10.77.0.0}\nservers:",
     "reef.yaml:5:11: network.cidr is \"10.77.0.0\"; it must be a private IPv4 network",
     "allowed: /16 to /28 within 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10, no "
     "bits "
     "behind the prefix: 10.77.0.0/24"},
    {"servers:", "network: {cidr: 10.77.0.1/24}\nservers:",
     "reef.yaml:5:11: network.cidr is \"10.77.0.1/24\"; it must be a private IPv4 network", NULL},
    {"servers:", "network: {cidr: 8.8.8.0/24}\nservers:",
     "reef.yaml:5:11: network.cidr is \"8.8.8.0/24\"; it must be a private IPv4 network", NULL},
    {"servers:", "network: {cidr: 127.77.0.0/24}\nservers:",
     "reef.yaml:5:11: network.cidr is \"127.77.0.0/24\"; it must be a private IPv4 network", NULL},
    {"servers:", "network: {cidr: 10.0.0.0/8}\nservers:",
     "reef.yaml:5:11: network.cidr is \"10.0.0.0/8\"; it must be a private IPv4 network", NULL},
    {"servers:\n  web: {", "network: {cidr: 10.0.0.0/28}\nservers:\n  web: {count: 11, ",
     "reef.yaml:5:11: network.cidr has too few addresses for 12 servers: take a larger one", NULL},
    {"servers:", "network: {dns: [resolver]}\nservers:",
     "reef.yaml:5:17: \"resolver\" is not an IP address", NULL},
    /* Networks that are only used. */
    {"servers:", "network: {name: lan}\nservers:", "reef.yaml:5:1: network.subnet is missing",
     "a network that is there already needs both, name and subnet"},
    {"servers:", "network: {subnet: lan}\nservers:", "reef.yaml:5:1: network.name is missing",
     NULL},
    {"servers:", "network: {name: lan, subnet: s, cidr: 10.1.0.0/24}\nservers:",
     "reef.yaml:5:33: network.cidr goes with a network of the island's own, not with network.name",
     NULL},
    {"servers:", "network: {name: lan, subnet: s, router: r}\nservers:",
     "reef.yaml:5:33: network.router goes with a network of the island's own, not with "
     "network.name",
     NULL},
    {"servers:", "network: {router: ''}\nservers:",
     "reef.yaml:5:19: network.router is empty; it must be a router's name", NULL},
    /* Moved volumes. */
    {"servers:", "moved: {db: db}\nservers:", "reef.yaml:5:9: moved: from db to itself", NULL},
    {"servers:", "moved: {bd: web}\nservers:",
     "reef.yaml:5:9: moved names the tier \"bd\", which is not in servers",
     "moved: {new tier: old tier}"},
    {"servers:", "moved: {web: old}\nservers:", "reef.yaml:5:9: moved: servers.web has no volume",
     NULL},
    {"servers:", "moved: {db: Web}\nservers:",
     "reef.yaml:5:13: moved.db is \"Web\"; it must be a tier's name", NULL},
    {"servers:\n  web: {", "moved: {db: web}\nservers:\n  web: {volume: {size: 1GB}, ",
     "reef.yaml:5:9: moved: servers.web still has a volume of its own",
     "take `volume` out of servers.web: servers.db has it now"},
    {"servers:\n  web: {", "moved: {db: web, web: old}\nservers:\n  web: {volume: {size: 1GB}, ",
     "reef.yaml:5:9: moved: servers.web still has a volume of its own", NULL},
    {"servers:\n  web: {", "moved: {db: old, web: old}\nservers:\n  web: {volume: {size: 1GB}, ",
     "reef.yaml:5:9: moved: the volumes of old can't be those of web and of db", NULL},
    {"servers:", "edge: {https: 443}\nservers:", "reef.yaml:5:8: edge.https needs a certificate",
     "give edge.tls: {acme: EMAIL} or {certificate: FILE, key: FILE}"},
    {"servers:", "edge: {tls: {certificate: /c}}\nservers:",
     "reef.yaml:5:8: edge.tls.key is missing", "it must be a file: a path, relative to this file"},
    {"servers:", "edge: {tls: {}}\nservers:", "reef.yaml:5:8: edge.tls is empty",
     "give edge.tls: {acme: EMAIL} or {certificate: FILE, key: FILE}"},
    {"servers:", "edge: {tls: {acme: nobody}}\nservers:",
     "reef.yaml:5:20: edge.tls.acme is \"nobody\"; it must be an e-mail address",
     "allowed: one that is read: the authority writes to it"},
    {"servers:", "edge: {tls: {acme: a@b.example, key: /k}}\nservers:",
     "reef.yaml:5:8: edge.tls has both files and acme: only one of them can be served",
     "give edge.tls: {acme: EMAIL} or {certificate: FILE, key: FILE}"},
    {"servers:", "edge: {tls: {server: 'https://ca.example/d'}}\nservers:",
     "reef.yaml:5:8: edge.tls.acme is missing: an address that the authority writes to", NULL},
    {"servers:", "edge: {tls: {acme: a@b.example, server: 'http://ca.example/d'}}\nservers:",
     "reef.yaml:5:33: edge.tls.server is \"http://ca.example/d\"; it must be https://...", NULL},
    {"servers:", "edge: {tls: {acme: a@b.example, ca: root.pem}}\nservers:",
     "reef.yaml:5:33: edge.tls.ca is for an authority of your own: edge.tls.server is missing",
     NULL},
    {"servers:", "edge: {https: 0, tls: {acme: a@b.example}}\nservers:",
     "reef.yaml:5:8: edge.https is 0: nothing would serve the certificate", NULL},
    {"servers:", "edge: {http: 8080, tls: {acme: a@b.example}}\nservers:",
     "reef.yaml:5:8: edge.http is 8080, and Let's Encrypt looks at port 80 alone",
     "leave it out; or name another authority with edge.tls.server"},
    {"servers:", "edge: {http: 443, tls: {certificate: /c, key: /k}}\nservers:",
     "reef.yaml:5:1: edge.http and edge.https are the same port", NULL},
    {"servers:", "edge: {http: 70000}\nservers:",
     "reef.yaml:5:14: edge.http is \"70000\"; it must be a port", "allowed: 1 to 65535"},
    /* Media. */
    {"servers:", "media: {container: A_b}\nservers:", "reef.yaml:5:9: media.container is \"A_b\"",
     "allowed: up to 63 of a-z, 0-9, dots and dashes"},
    {"servers:", "media: {container: reef-vault}\nservers:",
     "reef.yaml:5:9: media.container is \"reef-vault\", which atoll keeps for itself", NULL},
    {"servers:", "media: {isolation: full}\nservers:",
     "reef.yaml:5:20: media.isolation is \"full\"; it must be a level",
     "allowed: project, container, none"},
    {"servers:", "media: {isolation: project}\nservers:",
     "reef.yaml:5:9: media.isolation: project needs media.cloud, a login to a project of its own",
     NULL},
    {"servers:", "media: {url: 'https://m.example/'}\nservers:",
     "reef.yaml:5:9: media.url is \"https://m.example/\"; it must be https://... without a slash "
     "at "
     "its end",
     NULL},
    /* Environment and keys. */
    {"servers:", "env: {LOCAL_DOMAIN: x}\nservers:",
     "reef.yaml:5:7: env.LOCAL_DOMAIN is set by atoll: it is `domain`", NULL},
    {"servers:", "env: {A: b, SWIFT_TENANT: x}\nservers:",
     "reef.yaml:5:13: env.SWIFT_TENANT is set by atoll: even an empty one makes the "
     "client speak Keystone v2",
     NULL},
    {"servers:", "env: {lower: x}\nservers:",
     "reef.yaml:5:7: \"lower\" can't be the name of a variable",
     "allowed: A-Z, 0-9 and _, a letter first"},
    {"servers:", "env: {A: [x]}\nservers:",
     "reef.yaml:5:10: env.A is a list; it must be a value, or {secret: name}", NULL},
    {"servers:", "env: {A: {secret: Not-It}}\nservers:",
     "reef.yaml:5:19: \"Not-It\" can't be the name of a secret", "allowed: a-z, 0-9 and _"},
    {"servers:", "env: {A: b, SELF_DESTRUCT: x}\nservers:",
     "reef.yaml:5:13: env.SELF_DESTRUCT is set by atoll: it deletes the instance", NULL},
    {"servers:", "env: {A: b, C: it is}\nservers:",
     "reef.yaml:5:16: the value of env.C has a space, a quote, '#', '$' or a backslash in it",
     "dotenv and Docker read such values differently"},
    {"servers:", "env: {A: $HOME}\nservers:",
     "reef.yaml:5:10: the value of env.A has a space, a quote, '#', '$' or a backslash in it",
     "dotenv and Docker read such values differently"},
    {"servers:", "env: {SMTP_PASSWORD: {secret: smtp_password}}\nservers:",
     "reef.yaml:5:31: env.SMTP_PASSWORD: putting a secret of your own into the vault "
     "(smtp_password) is not built yet",
     "take the variable out"},
    {"servers:", "env: {A: {secret: master}}\nservers:",
     "reef.yaml:5:19: env.A: putting a secret of your own into the vault (master) is not built yet",
     "take the variable out"},
    {"servers:", "ssh_keys: ['-----BEGIN OPENSSH PRIVATE KEY-----']\nservers:",
     "reef.yaml:5:12: this is a private key: give the public one, and make a new pair", NULL},
    {"servers:", "ssh_keys: [jo]\nservers:",
     "reef.yaml:5:12: this is not a public key: give a line such as \"ssh-ed25519 AAAA... jo\"",
     NULL},
};

static char *replaced(const char *replace, const char *with)
{
    static const char whole[] = HEAD SERVERS;
    const char *at = strstr(whole, replace);

    assert_non_null(at);
    return xasprintf("%.*s%s%s", (int)(at - whole), whole, with, at + strlen(replace));
}

static void refusals(void **state)
{
    int failures = 0;

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(refused); k++) {
        _cleanup_free_ char *text = replaced(refused[k].replace, refused[k].with);
        _cleanup_(island_clear) Island i = {0};
        _cleanup_(err_clear) Err err = {0};

        if (island_parse("reef.yaml", str_of(text), &i, &err) != -ERR_CONFIG)
            fail_msg("taken: %s", text);
        assert_null(i.name);
        if (!refused[k].text) /* yaml.c's own words */
            continue;
        if (!streq(err.text, refused[k].text) ||
            (refused[k].hint && !streq(err.hint, refused[k].hint))) {
            failures++;
            print_error("%s\n  got:    %s (%s)\n  wanted: %s (%s)\n", refused[k].with, err.text,
                        err.hint ? err.hint : "", refused[k].text,
                        refused[k].hint ? refused[k].hint : "");
        }
    }
    assert_int_equal(failures, 0);
}

static void empty_and_other_files(void **state)
{
    static const char *const texts[] = {"", "[]", "reef", "- a", "island: [", "\t"};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
        _cleanup_(island_clear) Island i = {0};
        _cleanup_(err_clear) Err err = {0};

        assert_int_equal(island_parse("x", str_of(texts[k]), &i, &err), -ERR_CONFIG);
        if (!starts_with(err.text, "x:"))
            fail_msg("%s: %s", texts[k], err.text);
    }
}

#define HEAD_REST "domain: reef.example\ncloud: catalyst\nrelease: {canary: true}\n" SERVERS
#define ENV_HEAD                                                                                   \
    "island: reef\ndomain: reef.example\ncloud: catalyst\n"                                        \
    "release: {image: a/b, version: v4.6}\nnetwork: {external: wan, cidr: 10.1.0.0/24}\n"          \
    "media: {container: uploads, url: 'https://media.reef.example', role: up}\n" SERVERS

static void another_island_from_the_same_file(void **state)
{
    static const char text[] =
        ENV_HEAD "environments:\n"
                 "  staging:\n"
                 "    release: {canary: true}\n"
                 "    network: {cidr: 10.2.0.0/24}\n"
                 "    servers: {web: {flavor: tiny}, more: {flavor: a, roles: [worker]},\n"
                 "              most: {flavor: a, roles: [worker]}}\n"
                 "    env: {SMTP_SERVER: nowhere.example}\n"
                 "  test: {domain: try.example, cloud: other, media: {container: test-uploads,\n"
                 "         url: 'https://m.try.example'}}\n"
                 "  bare: {}\n";
    _cleanup_(island_clear) Island plain = {0}, staging = {0}, test = {0}, bare = {0}, any = {0};

    (void)state;
    assert_int_equal(island_parse("r", str_of(text), &plain, NULL), 0);
    assert_string_equal(plain.name, "reef");
    assert_string_equal(plain.media.container, "uploads");
    assert_int_equal(plain.n_tiers, 2);

    assert_int_equal(island_parse_as("r", str_of(text), "staging", &staging, NULL), 0);
    assert_string_equal(staging.name, "reef-staging");
    assert_string_equal(staging.domain, "staging.reef.example");
    assert_string_equal(staging.cloud, "catalyst");
    assert_int_equal(staging.release.kind, RELEASE_CANARY);
    assert_string_equal(staging.network.cidr, "10.2.0.0/24");
    assert_string_equal(staging.network.external, "wan");
    assert_int_equal(staging.n_tiers, 4);
    assert_string_equal(staging.tiers[0].flavor, "tiny");
    assert_true(staging.tiers[0].roles & ROLE_BIT(ROLE_EDGE));
    assert_string_equal(staging.tiers[2].name, "more");
    assert_string_equal(staging.tiers[3].name, "most");
    assert_int_equal(staging.env.len, 1);
    assert_string_equal(staging.media.container, "uploads-staging");
    assert_string_equal(staging.media.url, "");
    assert_string_equal(staging.media.role, "up");
    _cleanup_free_ char *place = island_place(&staging, "network.cidr");
    assert_string_equal(place, "r:13:21: network.cidr");

    assert_int_equal(island_parse_as("r", str_of(text), "test", &test, NULL), 0);
    assert_string_equal(test.name, "reef-test");
    assert_string_equal(test.domain, "try.example");
    assert_string_equal(test.cloud, "other");
    assert_string_equal(test.media.container, "test-uploads");
    assert_string_equal(test.media.url, "https://m.try.example");
    assert_string_equal(test.release.version, "v4.6");

    assert_int_equal(island_parse_as("r", str_of(text), "bare", &bare, NULL), 0);
    assert_string_equal(bare.domain, "bare.reef.example");
    assert_string_equal(bare.media.container, "uploads-bare");
    /* Without the key any name will do, and the container is called after it. */
    assert_int_equal(island_parse_as("r", STR_LIT(HEAD SERVERS), "any", &any, NULL), 0);
    assert_string_equal(any.name, "reef-any");
    assert_string_equal(any.media.container, "reef-any-media");
}

static void environments_that_are_refused(void **state)
{
    static const struct {
        const char *environments, *name, *text, *hint;
    } rows[] = {
        {"{staging: {}, test: {}}", "stagign",
         "r:10:1: there is no environment \"stagign\": did you mean \"staging\"?",
         "there is: staging, test"},
        {"{}", "x", "r:10:1: there is no environment \"x\"", "there is: none"},
        {"[staging]", "staging", "r:10:15: environments must be a map", NULL},
        {"{staging: 3}", "staging", "r:10:25: environments.staging must be a map", NULL},
        /* Also where it is not asked for. */
        {"{staging: {islnad: x}}", NULL, "r:10:26: environments.staging can't have \"islnad\"",
         NULL},
        {"{staging: {island: x}}", "staging", "r:10:26: environments.staging can't have \"island\"",
         NULL},
        {"{staging: {domian: x}}", "staging",
         "r:10:26: environments.staging can't have \"domian\": did you mean \"domain\"?", NULL},
        {"{Staging: {}}", NULL, "r:10:16: \"Staging\" can't be the name of an environment",
         "allowed: up to 16 of a-z and 0-9, a letter first"},
        {"{staging: {network: {cidr: 9}}}", "staging", "r:10:36: network.cidr is \"9\"", NULL},
        {"{staging: {media: {container: uploads}}}", "staging",
         "r:10:45: media.container \"uploads\" is that of the island without -e", NULL},
        {"{abcdefghijklmnopq: {}}", NULL, "r:10:16: \"abcdefghijklmnopq\" can't be", NULL},
    };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        _cleanup_free_ char *text = xasprintf(ENV_HEAD "environments: %s\n", rows[k].environments);
        _cleanup_(island_clear) Island i = {0};
        _cleanup_(err_clear) Err err = {0};

        assert_int_equal(island_parse_as("r", str_of(text), rows[k].name, &i, &err), -ERR_CONFIG);
        if (!starts_with(err.text, rows[k].text) ||
            (rows[k].hint && !streq(err.hint, rows[k].hint)))
            fail_msg("%s\n  got:    %s (%s)\n  wanted: %s", text, err.text,
                     err.hint ? err.hint : "", rows[k].text);
        assert_null(i.name);
    }
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(err_clear) Err err = {0};
    assert_int_equal(
        island_parse_as("r", STR_LIT("island: reefs\n" HEAD_REST), "abcdefghijklmnop", &i, &err),
        -ERR_CONFIG);
    assert_string_equal(err.text, "r:1:9: with -e abcdefghijklmnop the island would be called "
                                  "reefs-abcdefghijklmnop: more than 21 letters");
}

static void from_a_file(void **state)
{
    char path[] = "/tmp/atoll-island-XXXXXX";
    _cleanup_(island_clear) Island i = {0};
    _cleanup_(err_clear) Err err = {0};
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(file_write(path, STR_LIT(HEAD SERVERS), 0600, &err), 0);
    assert_int_equal(island_load(path, NULL, &i, &err), 0);
    assert_string_equal(i.path, path);
    island_clear(&i);
    unlink(path);
    assert_int_equal(island_load(path, NULL, &i, &err), -ERR_NOT_FOUND);
    assert_string_equal(err.hint, "`atoll init` writes a first one");
}

/* `atoll init` must not write what `atoll plan` refuses. */
static void template_is_right(void **state)
{
    static const IslandTemplate templates[] = {
        {"reef", "reef.example", "catalyst", "debian-12", "c1.c2r2", "nvme", "catalyst-media",
         false},
        {"reef", "reef.localhost", "pocket", "debian-12", "small", NULL, NULL, true},
        {"r", "x.y", "it's: odd", "Debian 12 (bookworm)", "4C-8GB # x", "", "", false},
    };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(templates); k++) {
        const IslandTemplate *t = &templates[k];
        _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
        _cleanup_(island_clear) Island i = {0};
        _cleanup_(err_clear) Err err = {0};

        island_template(t, &text);
        if (island_parse("new", buf_as_str(&text), &i, &err) < 0)
            fail_msg("%s\n%s", err.text, text.p);
        assert_string_equal(i.name, t->name);
        assert_string_equal(i.cloud, t->cloud);
        assert_string_equal(i.image, t->image);
        assert_string_equal(i.tiers[0].flavor, t->flavor);
        assert_string_equal(i.tiers[1].volume_type, t->volume_type ? t->volume_type : "");
        assert_string_equal(i.media.cloud, t->media_cloud ? t->media_cloud : "");
        assert_int_equal(i.release.kind, t->pocket ? RELEASE_CANARY : RELEASE_IMAGE);
        assert_int_equal(i.edge.http, t->pocket ? 8080 : 80);
    }
}

/* Every row is whole, once, and below a row that is there. */
static void table_is_whole(void **state)
{
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_BODY);
    size_t lines = 0, rows = 0;

    (void)state;
    for (const IslandRow *row = island_rows; row->path; row++, rows++) {
        const char *dot = strrchr(row->path, '.');
        bool parent = !dot;

        assert_non_null(row->type);
        assert_non_null(row->allowed);
        assert_non_null(row->read);
        assert_true(ends_with(row->sentence, "."));
        for (const IslandRow *other = island_rows; other->path; other++) {
            assert_true(other == row || !streq(other->path, row->path));
            parent = parent || (strlen(other->path) == (size_t)(dot - row->path) &&
                                starts_with(row->path, other->path));
        }
        assert_true(parent);
    }
    island_reference(&text);
    for (const char *p = text.p; *p; p++)
        lines += *p == '\n';
    const char *table = strstr(text.p, "| key | is |");
    assert_non_null(table);
    for (const char *p = text.p; p < table; p++)
        lines -= *p == '\n';
    assert_int_equal(lines, rows + 2);
    assert_non_null(strstr(text.p, "| `servers.*.volume.size` | a size with its unit | (must be "
                                   "given) | whole GB, such as 50GB |"));
    assert_non_null(strstr(text.p, "| `media.container` | a container's name | NAME-media |"));
}

static void role_facts(void **state)
{
    Role role;

    (void)state;
    for (int r = 0; r < ROLES; r++) {
        const RoleRow *row = &role_rows[r];

        assert_true(role_parse(row->name, &role));
        assert_int_equal(role, r);
        assert_string_equal(role_names()[r], row->name);
        assert_non_null(row->user);
        /* Whom nobody may reach needs no port, and the other way round. */
        assert_true(!row->port == !row->clients);
    }
    assert_null(role_names()[ROLES]);
    assert_false(role_parse("wed", &role));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minimal),
        cmocka_unit_test(streaming_is_atolls_or_nodes),
        cmocka_unit_test(everything),
        cmocka_unit_test(hours),
        cmocka_unit_test(refusals),
        cmocka_unit_test(empty_and_other_files),
        cmocka_unit_test(another_island_from_the_same_file),
        cmocka_unit_test(environments_that_are_refused),
        cmocka_unit_test(from_a_file),
        cmocka_unit_test(template_is_right),
        cmocka_unit_test(table_is_whole),
        cmocka_unit_test(role_facts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
