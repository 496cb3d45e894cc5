/* Logins and calls, in batches. */
#include "cloud/answer.h"
#include "cloud/flight.h"

static int land_login(Cloud *c, Call *call, Msec start, Err *err)
{
    static const char *const secrets[] = {
        [AUTH_PASSWORD] = "user name, password and domain",
        [AUTH_TOKEN] = "token: it can't be renewed, take a new one",
        [AUTH_APPLICATION_CREDENTIAL] = "application credential's id and secret",
    };
    const char *name = c->config.name ? c->config.name : c->config.auth_url;

    if (call->err.kind) {
        err_move(err, &call->err);
        /* To a token or a credential's id that it does not know Keystone says 404. */
        bool unknown = err->kind == ERR_NOT_FOUND && c->config.auth_type != AUTH_PASSWORD;
        if (err->kind == ERR_AUTH || unknown)
            err_hint(err, "check the %s of `%s` in %s", secrets[c->config.auth_type], name,
                     c->config.source ? c->config.source : "clouds.yaml");
        return err_wrap(err, "logging in to %s", name);
    }
    login_note_date(c, answer_header(&call->reply_headers, "Date"), start, time_now());
    int r =
        login_accept(c, answer_header(&call->reply_headers, "X-Subject-Token"), call->json, err);
    return r < 0 ? err_wrap(err, "logging in to %s", name) : 0;
}

/* In parallel; errs[i] tells of clouds[i]. */
static void login_each(Cloud *const *clouds, size_t n, Err *errs)
{
    Flight *flights = xcalloc(n, sizeof *flights);
    Call *calls = xcalloc(n, sizeof *calls);
    size_t *who = xcalloc(n, sizeof *who), k = 0;
    Msec now = time_now();

    for (size_t i = 0; i < n; i++) {
        bool twice = false;
        for (size_t j = 0; j < i; j++)
            twice = twice || clouds[j] == clouds[i];
        if (twice || login_is_good(clouds[i], now))
            continue;
        calls[k] = (Call){.cloud = clouds[i],
                          .service = CLOUD_IDENTITY,
                          .kind = CALL_IDEMPOTENT, /* one token more does no harm */
                          .method = "POST",
                          .path = xstrdup("/auth/tokens"),
                          .body = login_body_new(&clouds[i]->config)};
        flights[k] = (Flight){.call = &calls[k], .is_login = true, .started = time_mono()};
        flight_prepare(&flights[k], clouds[i]->config.auth_url);
        who[k++] = i;
    }
    flight_run(flights, k);
    for (size_t i = 0; i < k; i++) {
        (void)land_login(clouds[who[i]], &calls[i], now, &errs[who[i]]);
        flight_clear(&flights[i]);
        call_clear(&calls[i]);
    }
    free(who);
    free(calls);
    free(flights);
}

int login_all(Cloud *const *clouds, size_t n, Err *err)
{
    Err *errs = xcalloc(MAX(n, 1), sizeof *errs);
    int r = 0;

    login_each(clouds, n, errs);
    for (size_t i = 0; i < n; i++) {
        if (r == 0 && errs[i].kind)
            r = err_move(err, &errs[i]);
        err_clear(&errs[i]);
    }
    free(errs);
    return r;
}

/* Logs in where needed and finds the services. */
static void take_off(Flight *flights, size_t n)
{
    Cloud **clouds = xcalloc(n, sizeof(Cloud *));
    Err *errs = xcalloc(n, sizeof *errs);
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        while (j < k && clouds[j] != flights[i].call->cloud)
            j++;
        if (j == k)
            clouds[k++] = flights[i].call->cloud;
    }
    login_each(clouds, k, errs);
    for (size_t i = 0; i < n; i++) {
        Flight *f = &flights[i];
        const char *base;
        size_t j = 0;
        while (clouds[j] != f->call->cloud)
            j++;
        f->started = time_mono();
        if (errs[j].kind)
            flight_copy_err(&f->call->err, &errs[j]);
        else if (cloud_endpoint(f->call->cloud, f->call->service, &base, &f->call->err) == 0)
            flight_prepare(f, base);
        if (f->call->err.kind)
            flight_land(f);
    }
    for (size_t j = 0; j < k; j++)
        err_clear(&errs[j]);
    free(errs);
    free(clouds);
}

int cloud_perform(Call *calls, size_t n, Err *err)
{
    Flight *flights = xcalloc(MAX(n, 1), sizeof *flights);
    const Call *failed = NULL;
    Msec start = time_now();

    for (size_t i = 0; i < n; i++) {
        flights[i].call = &calls[i];
        err_clear(&calls[i].err);
    }
    take_off(flights, n);
    flight_run(flights, n);
    for (size_t i = 0; i < n; i++) {
        flight_clear(&flights[i]);
        login_note_date(calls[i].cloud, call_header(&calls[i], "Date"), start, time_now());
        if (calls[i].err.kind && !failed)
            failed = &calls[i];
    }
    free(flights);
    if (!failed)
        return 0;
    int r = -(int)failed->err.kind;
    if (err)
        flight_copy_err(err, &failed->err);
    return r;
}
