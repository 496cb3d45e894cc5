#include "cloud/kind.h"
#include "cloud/login.h"

#include <stdio.h>

#define BIT(kind) (1u << (kind))

/* One list: which kinds it tells of, and how it is asked for. In `path`, @marker@, @island@,
 * @user@,
 * @domain@ and @project@ are filled in, quoted. */
typedef struct ListRow {
    unsigned kinds;
    CloudRole role;
    CloudService service;
    const char *plural;
    const char *path;
    const char *words; /* for an error */
} ListRow;

static const ListRow lists[] = {
    {BIT(RESOURCE_NETWORK), CLOUD_OF_ISLAND, CLOUD_NETWORK, "networks",
     "/networks?description=@marker@", "networks"},
    {BIT(RESOURCE_SUBNET), CLOUD_OF_ISLAND, CLOUD_NETWORK, "subnets",
     "/subnets?description=@marker@", "subnets"},
    {BIT(RESOURCE_ROUTER), CLOUD_OF_ISLAND, CLOUD_NETWORK, "routers",
     "/routers?description=@marker@", "routers"},
    {BIT(RESOURCE_GROUP), CLOUD_OF_ISLAND, CLOUD_NETWORK, "security_groups",
     "/security-groups?description=@marker@", "security groups"},
    {BIT(RESOURCE_PORT) | BIT(RESOURCE_INTERFACE), CLOUD_OF_ISLAND, CLOUD_NETWORK, "ports",
     "/ports?description=@marker@", "ports"},
    {BIT(RESOURCE_FLOATING_IP), CLOUD_OF_ISLAND, CLOUD_NETWORK, "floatingips",
     "/floatingips?description=@marker@", "floating IPs"},
    /* A Nova older than 2.26 ignores `tags`: then all are listed, and those of others left out. */
    {BIT(RESOURCE_SERVER), CLOUD_OF_ISLAND, CLOUD_COMPUTE, "servers",
     "/servers/detail?tags=@marker@", "servers"},
    /* Twice, the second time from the second one on: this list alone is cut without a word, and so
     * it shows (groups_rest). */
    {BIT(RESOURCE_SERVER_GROUP), CLOUD_OF_ISLAND, CLOUD_COMPUTE, "server_groups",
     "/os-server-groups?limit=100", "server groups"},
    {BIT(RESOURCE_SERVER_GROUP), CLOUD_OF_ISLAND, CLOUD_COMPUTE, "server_groups",
     "/os-server-groups?limit=100&offset=1", "server groups"},
    /* {'atoll':'reef'}: Python's, quoted. */
    {BIT(RESOURCE_VOLUME), CLOUD_OF_ISLAND, CLOUD_VOLUME, "volumes",
     "/volumes/detail?metadata=%7B%27atoll%27%3A%27@island@%27%7D", "volumes"},
    {BIT(RESOURCE_USER), CLOUD_OF_MEDIA, CLOUD_IDENTITY, "users",
     "/users?domain_id=@domain@&name=@user@", "users"},
    {BIT(RESOURCE_USER), CLOUD_OF_MEDIA, CLOUD_IDENTITY, "role_assignments",
     "/role_assignments?scope.project.id=@project@&include_names=true", "role assignments"},
};

/* One call of a look: a list, or a container: its HEAD, or a GET, which has the same headers and
 * the names in it. */
typedef struct Asked {
    const ListRow *list; /* NULL: a container */
    CloudRole role;
    char *container;
} Asked;

typedef struct Asking {
    VEC(Call) calls;
    VEC(Asked) asked;
} Asking;

static char *path_new(const Look *l, Cloud *c, const char *pattern)
{
    _cleanup_free_ char *user = resource_name(l->clouds->island, RESOURCE_USER, "media", 1);
    const struct {
        const char *word, *value;
    } values[] = {
        {"@marker@", l->marker},          {"@island@", l->clouds->island},    {"@user@", user},
        {"@domain@", cloud_domain_id(c)}, {"@project@", cloud_project_id(c)},
    };
    Buf b = BUF_INIT(BUF_MAX_LINE);

    for (const char *p = pattern; *p;) {
        size_t i = 0;
        while (i < ARRAY_LEN(values) && !starts_with(p, values[i].word))
            i++;
        if (i < ARRAY_LEN(values)) {
            buf_url_quote(&b, values[i].value, NULL);
            p += strlen(values[i].word);
        } else {
            buf_char(&b, *p++);
        }
    }
    return buf_detach(&b);
}

static void ask_list(const Look *l, const ListRow *row, Asking *a)
{
    Cloud *c = clouds_of(l->clouds, row->role);

    vec_push(&a->asked, (Asked){.list = row, .role = row->role});
    vec_push(&a->calls, (Call){.cloud = c,
                               .service = row->service,
                               .kind = CALL_READ,
                               .method = "GET",
                               .plural = row->plural,
                               .path = path_new(l, c, row->path)});
}

/* "1:user-uploads", or "0:reef-mail/" to list it as well */
static void ask_container(const Look *l, const char *text, Asking *a)
{
    BUG_IF(text[0] < '0' || text[0] >= '0' + (int)CLOUD_ROLES || text[1] != ':');
    CloudRole role = (CloudRole)(text[0] - '0');
    char *name = xstrndup(text + 2, strcspn(text + 2, "/"));
    bool listed = ends_with(text, "/");
    Buf path = BUF_INIT(BUF_MAX_LINE);

    buf_char(&path, '/');
    buf_url_quote(&path, name, NULL);
    vec_push(&a->asked, (Asked){.role = role, .container = name});
    vec_push(&a->calls, (Call){.cloud = clouds_of(l->clouds, role),
                               .service = CLOUD_OBJECT,
                               .kind = CALL_READ,
                               .method = listed ? "GET" : "HEAD",
                               .plural = listed ? "" : NULL,
                               .path = buf_detach(&path)});
}

static void asking_clear(Asking *a)
{
    for (size_t i = 0; i < a->calls.len; i++) {
        call_clear(&a->calls.items[i]);
        free(a->asked.items[i].container);
    }
    vec_clear(&a->calls);
    vec_clear(&a->asked);
}
DEFINE_CLEAR(Asking, asking_clear)

/* A list that is not whole never means "absent" (iac.md 2.8). */
static int check_answers(const Asking *a, Err *err)
{
    for (size_t i = 0; i < a->calls.len; i++) {
        Call *c = &a->calls.items[i];
        const Asked *asked = &a->asked.items[i];
        ErrKind kind = c->err.kind;
        if (kind == ERR_NONE || (!asked->list && kind == ERR_NOT_FOUND && c->status == 404))
            continue;
        err_move(err, &c->err);
        if (!asked->list && kind == ERR_DENIED)
            err_hint(err, "the login needs a role that may use the object store, mostly `member`; "
                          "a `reader` may not");
        if (!asked->list)
            return err_wrap(err, "looking at the container %s", asked->container);
        if (kind == ERR_DENIED && asked->list->service == CLOUD_IDENTITY)
            err_hint(err, "the media user needs a login that may manage users: `media: {cloud: "
                          "...}` names another entry of clouds.yaml; or `media: {user: {name, id, "
                          "password_file}}` one that somebody has made for you");
        return err_wrap(err, "listing %s", asked->list->words);
    }
    return 0;
}

static bool is_among(const ListRow *row, ResourceKind kind, unsigned mask)
{
    return (row->kinds & mask & BIT(kind)) != 0;
}

static void read_list(const Look *l, const ListRow *row, unsigned mask, const Call *c, World *w)
{
    const json_t *item;
    size_t i;

    json_array_foreach (c->json, i, item) {
        for (int kind = 0; kind < RESOURCE_KINDS; kind++) {
            Resource r = {0};
            if (is_among(row, (ResourceKind)kind, mask) &&
                kind_row((ResourceKind)kind)->read(l, item, &r))
                (void)world_add(w, r);
        }
    }
}

static bool has_id(const json_t *list, const char *id)
{
    const json_t *item;
    size_t i;

    json_array_foreach (list, i, item) {
        if (streq(json_str(item, "id"), id))
            return true;
    }
    return false;
}

/* The second list of server groups is the first without its first, unless a cloud gives fewer at
 * once than it was asked for. Then the rest is read page by page, up to an empty one, into the
 * first. */
static int groups_rest(const Call *second, Call *first, Err *err)
{
    size_t n = json_array_size(second->json);

    if (n == 0 || has_id(first->json, json_str_or(json_array_get(second->json, n - 1), "id", "")))
        return 0;
    for (;;) {
        _cleanup_json_ json_t *page = NULL;
        _cleanup_free_ char *path =
            xasprintf("/os-server-groups?limit=100&offset=%zu", json_array_size(first->json));
        int r = cloud_get(first->cloud, CLOUD_COMPUTE, path, &page, err);
        if (r < 0)
            return err_wrap(err, "listing server groups");
        json_t *items = json_object_get(page, "server_groups");
        if (!json_is_array(items))
            return err_set(err, ERR_CORRUPT, "listing server groups: a page is not there");
        if (json_array_size(items) == 0)
            return 0;
        json_array_extend(first->json, items);
    }
}

/* Inherited ones count for projects below. */
static void read_roles(const Call *c, World *w)
{
    const json_t *item;
    size_t i;

    json_array_foreach (c->json, i, item) {
        const char *user = json_str(item, "user.id"), *name = json_str(item, "role.name");
        Resource *r = user ? world_find_id(w, RESOURCE_USER, user) : NULL;
        if (!r || !name ||
            json_object_get(json_object_get(item, "scope"), "OS-INHERIT:inherited_to"))
            continue;
        json_t *roles = json_object_get(r->attrs, "roles");
        json_array_append_new(roles, json_string(name));
        kind_sort_texts(roles);
        r->used = true;
    }
}

static int read_container(const Look *l, const Asked *asked, const Call *c, World *w, Err *err)
{
    Resource r = {0};

    if (c->status == 404)
        return 0;
    if (container_read(l, asked->role, asked->container, c, &r)) {
        (void)world_add(w, r);
        if (c->plural)
            w->mail = json_incref(c->json);
        return 0;
    }
    err_set(err, ERR_AMBIGUOUS,
            "the container %s is there already and is not marked as the island's",
            asked->container);
    return err_hint(err,
                    "choose another name, or hand it over with `openstack container set "
                    "--property atoll=%s %s`",
                    l->marker, asked->container);
}

static void forget(World *w, unsigned mask)
{
    for (size_t i = w->items.len; i-- > 0;) {
        if (!(mask & BIT(w->items.items[i].kind)))
            continue;
        resource_clear(&w->items.items[i]);
        vec_remove(&w->items, i);
    }
}

static int complete_groups(Asking *a, Err *err)
{
    Call *first = NULL;

    for (size_t i = 0; i < a->calls.len; i++) {
        const ListRow *list = a->asked.items[i].list;
        Call *c = &a->calls.items[i];
        if (!list || !streq(list->plural, "server_groups"))
            continue;
        if (first) {
            int r = groups_rest(c, first, err);
            json_array_clear(c->json);
            return r;
        }
        first = c;
    }
    return 0;
}

static int read_all(const Look *l, const Asking *a, unsigned mask, World *w, Err *err)
{
    int r = 0;

    for (size_t i = 0; i < a->calls.len && r == 0; i++) {
        const Asked *asked = &a->asked.items[i];
        const Call *c = &a->calls.items[i];
        if (!asked->list)
            r = read_container(l, asked, c, w, err);
        else if (streq(asked->list->plural, "role_assignments"))
            read_roles(c, w);
        else
            read_list(l, asked->list, mask, c, w);
    }
    return r;
}

static void add_given_user(const Clouds *c, World *w)
{
    (void)world_add(w, (Resource){.kind = RESOURCE_USER,
                                  .key = xstrdup("media"),
                                  .generation = 1,
                                  .name = xstrdup(c->media_user_name),
                                  .cloud = CLOUD_OF_MEDIA,
                                  .id = xstrdup(c->media_user),
                                  .status = xstrdup(""),
                                  .used = true,
                                  .attrs = json_make_new("{s:[], s:b}", "roles", "given", 1)});
}

int clouds_login(const Clouds *c, Err *err)
{
    Cloud *all[CLOUD_ROLES];
    size_t n = 0;

    for (size_t i = 0; i < CLOUD_ROLES; i++)
        if (c->of[i])
            all[n++] = c->of[i];
    return login_all(all, n, err);
}

int world_look(const Clouds *c, unsigned mask, const char *const *containers, World *ret, Err *err)
{
    _cleanup_free_ char *marker = resource_marker(c->island);
    Look l = {.clouds = c, .marker = marker, .world = ret};
    _cleanup_(asking_clear) Asking a = {0};
    int r = clouds_login(c, err);

    if (r < 0)
        return r;
    unsigned listed = c->media_user ? mask & ~BIT(RESOURCE_USER) : mask;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (lists[i].kinds & listed)
            ask_list(&l, &lists[i], &a);
    for (size_t i = 0; mask & BIT(RESOURCE_CONTAINER) && containers && containers[i]; i++)
        ask_container(&l, containers[i], &a);
    (void)cloud_perform(a.calls.items, a.calls.len, NULL); /* each has its own error */
    r = check_answers(&a, err);
    if (r == 0)
        r = complete_groups(&a, err);
    if (r < 0)
        return r;
    World found = {0};
    r = read_all(&l, &a, mask, &found, err);
    if (r == 0 && mask & BIT(RESOURCE_USER) && c->media_user)
        add_given_user(c, &found);
    if (r == 0) {
        forget(ret, mask);
        if (mask & BIT(RESOURCE_CONTAINER)) {
            json_decref(ret->mail);
            ret->mail = TAKE(found.mail);
        }
        for (size_t i = 0; i < found.items.len; i++)
            (void)world_add(ret, found.items.items[i]);
        vec_clear(&found.items);
        world_link(ret);
    }
    world_clear(&found);
    return r;
}
