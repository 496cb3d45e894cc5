/* atoll init: a first island file from what the cloud really has, and the island's two keys. */
#include "cmd/cmd.h"
#include "host/keys.h"
#include "io/file.h"

typedef struct Options {
    const char *cloud, *media_cloud, *domain, *recovery_file;
} Options;

static const Opt options[] = {
    {.name = "cloud",
     .type = OPT_STRING,
     .argument = "NAME",
     .sentence = "The entry of clouds.yaml (default: $OS_CLOUD, or the only one).",
     .offset = offsetof(Options, cloud)},
    {.name = "media-cloud",
     .type = OPT_STRING,
     .argument = "NAME",
     .sentence = "Another entry, for a project of its own for media.",
     .offset = offsetof(Options, media_cloud)},
    {.name = "domain",
     .type = OPT_STRING,
     .argument = "DOMAIN",
     .sentence = "The instance's domain (default: NAME.example).",
     .offset = offsetof(Options, domain)},
    OPT_RECOVERY_FILE(Options),
    OPT_END,
};

/* The smallest flavor with two CPUs and 2 GB, or the largest there is. */
static const char *pick_flavor(const json_t *flavors)
{
    const char *best = NULL, *name;
    int64_t best_ram = 0;
    bool best_fits = false;
    const json_t *f;
    json_object_foreach ((json_t *)(uintptr_t)flavors, name, f) {
        int64_t ram = json_int(f, "ram_mb", 0);
        bool fits = ram >= 2048 && json_int(f, "vcpus", 0) >= 2;
        bool better = fits ? !best_fits || ram < best_ram : !best_fits && ram > best_ram;
        if (!better)
            continue;
        best = name;
        best_ram = ram;
        best_fits = fits;
    }
    return best;
}

/* The first name that has one of the words in it, in the words' order. */
static const char *pick_name(const json_t *names, const char *const *words)
{
    const char *name;
    const json_t *value;
    for (; *words; words++)
        json_object_foreach ((json_t *)(uintptr_t)names, name, value)
            if (strstr(name, *words))
                return name;
    return json_object_iter_key(json_object_iter((json_t *)(uintptr_t)names));
}

static const char *pick_volume_type(const json_t *types)
{
    static const char *const words[] = {"nvme", "ssd", NULL};
    for (const char *const *w = words; *w; w++)
        for (size_t i = 0; i < json_array_size(types); i++) {
            const char *name = json_string_value(json_array_get(types, i));
            if (name && strstr(name, *w))
                return name;
        }
    return "";
}

static int prepare_file(Cmd *c, const char *island, const CloudConfig *config, Buf *ret, Err *err)
{
    const Options *o = c->options;
    _cleanup_(world_clear) World w = {0};
    int r = world_facts(&c->clouds, c->cache_dir, true, time_now(), &w, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *domain = o->domain ? xstrdup(o->domain) : xasprintf("%s.example", island);
    const char *flavor = pick_flavor(json_at(w.facts, "flavors"));
    const char *image =
        pick_name(json_at(w.facts, "images"), (const char *const[]){"debian-12", "debian", NULL});
    if (!flavor || !image)
        return err_set(err, ERR_PREFLIGHT, "cloud %s offers no %s", config->name,
                       flavor ? "image" : "flavor");
    IslandTemplate t = {.name = island,
                        .domain = domain,
                        .cloud = config->name,
                        .image = image,
                        .flavor = flavor,
                        .volume_type = pick_volume_type(json_at(w.facts, "volume_types")),
                        .media_cloud = o->media_cloud,
                        .pocket = starts_with(config->name, "pocket")};
    island_template(&t, ret);
    /* A name or a domain that cannot be is told as the file's reader tells it. */
    _cleanup_(island_clear) Island parsed = {0};
    return island_parse(c->common.file, buf_as_str(ret), &parsed, err);
}

static int make_keys(Cmd *c, const char *island, Err *err)
{
    const Options *o = c->options;
    _cleanup_(keyfiles_clear) KeyFiles paths = keys_paths(island);
    if (file_exists(paths.pub_path)) {
        cmd_say(c, "kept  %s: the operator's key was there\n", paths.key_path);
        return 0;
    }
    CmdRecovery recovery = {.c = c, .file = o->recovery_file};
    _cleanup_secret_ Secret *passphrase = NULL;
    int r = cmd_recovery_can(&recovery, err);
    if (r == 0)
        r = keys_passphrase(true, &passphrase, err);
    if (r == 0)
        r = keys_make(island, passphrase, cmd_recovery_keep, &recovery, err);
    if (r == 0)
        cmd_say(c, "made  %s: the operator's key\n", paths.key_path);
    return r;
}

/* Configures the logins that the file is written from. */
static int choose_cloud(Cmd *c, const char *island, CloudConfig *config, Err *err)
{
    const Options *o = c->options;
    int r = cloud_config_load(o->cloud, config, err);
    if (r == 0)
        r = cmd_cloud(c, config->name, &c->owned[CLOUD_OF_ISLAND], err);
    if (r == 0 && o->media_cloud)
        r = cmd_cloud(c, o->media_cloud, &c->owned[CLOUD_OF_MEDIA], err);
    c->clouds.island = island;
    for (int i = 0; i < CLOUD_ROLES; i++)
        c->clouds.of[i] = c->owned[i] ? c->owned[i] : c->owned[CLOUD_OF_ISLAND];
    return r;
}

/* The file is prepared before the keys are made and written after them, so that what fails leaves
 * nothing, or only keys, which a rerun keeps. */
static int run(Cmd *c, char **operands, Err *err)
{
    const char *island = operands[0] ? operands[0] : "reef";
    bool there = file_exists(c->common.file);
    CloudConfig config = {0};
    _cleanup_(buf_clear) Buf text = BUF_INIT(BUF_MAX_LINE);
    int r = 0;
    if (c->common.environment) {
        if (operands[0])
            return err_set(err, ERR_USAGE, "-e takes the island's name from %s", c->common.file);
        r = cmd_prepare(c, NEED_ISLAND, err);
        island = c->island.name;
    }
    if (r == 0 && !there)
        r = choose_cloud(c, island, &config, err);
    if (r == 0 && !there)
        r = prepare_file(c, island, &config, &text, err);
    if (r == 0)
        r = make_keys(c, island, err);
    if (r == 0 && !there)
        r = file_create(c->common.file, buf_as_str(&text), 0644, err);
    if (r == 0 && there)
        cmd_say(c, "kept  %s: it was there\n", c->common.file);
    else if (r == 0)
        cmd_say(c, "wrote %s: %s on cloud %s (%s)\n", c->common.file, island, config.name,
                config.source);
    cloud_config_clear(&config);
    if (r == 0)
        cmd_say(c, "\nnext: read %s, then `atoll check`, `atoll apply`\n", c->common.file);
    return r;
}

const Verb verb_init = {
    .name = "init",
    .usage = "init [NAME] [options]",
    .sentence = "Write a first island file from what the cloud has, and make the keys.",
    .text =
        "Logs in, looks at flavors, images and volume types, and writes an island file with "
        "comments. Makes the operator's key (wrapped by a passphrase) and the recovery key, which "
        "is shown once. What is there already is kept: with an island file from somebody else it "
        "makes the keys alone. With -e they are those of that environment, which has its own.",
    .options_size = sizeof(Options),
    .options = options,
    .operands = 1,
    .run = run,
};
