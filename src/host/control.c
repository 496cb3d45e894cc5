#include "host/control.h"

int control_vault(Vault *v, const StrList *recipients, const json_t *clouds, Err *err)
{
    _cleanup_(buf_wipe) Buf text = BUF_INIT(BUF_MAX_BODY);
    _cleanup_json_ json_t *readers = json_list_new(recipients);
    _cleanup_free_ char *list = json_text_new(readers), *logins = json_text_new(clouds);
    buf_printf(&text, "{\"recipients\":%s,\"clouds\":%s,\"vault\":", list, logins);
    explicit_bzero(logins, strlen(logins));
    vault_remove(v, CONTROL_KIT); /* of the bundle before */
    int r = vault_write(v, &text, err);
    buf_char(&text, '}');
    if (r < 0)
        return r;
    _cleanup_secret_ Secret *kit = secret_new(text.p, text.len);
    vault_set(v, CONTROL_KIT, kit);
    return 0;
}
