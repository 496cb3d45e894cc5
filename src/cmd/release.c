/* The island's release, from and to the cloud. */
#include "cmd/cmd.h"

void cmd_release_read(const Cmd *c, const World *w, ReleaseRecord *ret)
{
    _cleanup_json_ json_t *file = island_release_new(&c->island);

    if (!release_read(w->mail, file, ret)) { /* the file's */
        _cleanup_free_ char *db = island_first_server(&c->island, ROLE_POSTGRES);
        ret->db = MAX(release_found_db(w, db ? db : ""), 1);
    }
}

/* The content type has all that counts; the body is for a person who looks. */
int cmd_release_put(Cmd *c, const ReleaseRecord *r, Err *err)
{
    _cleanup_(buf_clear) Buf type = BUF_INIT(BUF_MAX_LINE);
    _cleanup_free_ char *name = release_name(r->number);
    _cleanup_free_ char *path = xasprintf("%s-mail/%s", c->island.name, name);
    char holder[320], at[TIME_TEXT_MAX];

    release_type(r, &type);
    cmd_holder(holder);
    _cleanup_json_ json_t *body =
        json_make_new("{s:s, s:s, s:s, s:O, s:O}", "by", holder, "at",
                      time_format(cloud_now(c->clouds.of[CLOUD_OF_ISLAND]), false, at), "phase",
                      release_phase_word(r->phase), "now", r->now, "to", r->to);
    _cleanup_free_ char *text = json_text_new(body);
    if (type.overflow)
        return err_set(err, ERR_BUG, "the release's record would be too long");
    int k =
        swift_put(c->clouds.of[CLOUD_OF_ISLAND], path,
                  &(SwiftPut){.body = str_of(text), .content_type = type.p, .only_new = true}, err);
    if (k == -ERR_CONFLICT) {
        (void)err_set(err, ERR_CHANGED, "another run has gone on with the release meanwhile");
        return err_hint(err, "`atoll status` shows it; `atoll deploy` goes on from there");
    }
    if (k < 0)
        return err_wrap(err, "writing down the release");
    c->release = r->number;
    return 0;
}
