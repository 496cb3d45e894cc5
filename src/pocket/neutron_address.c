#include "pocket/neutron_address.h"
#include <arpa/inet.h>
#include <stdio.h>

bool address_parse(const char *s, uint32_t *ret)
{
    struct in_addr a;
    if (!s || inet_pton(AF_INET, s, &a) != 1)
        return false;
    *ret = ntohl(a.s_addr);
    return true;
}

static uint32_t mask(int bits)
{
    return bits == 0 ? 0 : ~(uint32_t)0 << (32 - bits);
}

bool cidr_parse(const char *s, Cidr *ret)
{
    const char *slash = s ? strchr(s, '/') : NULL;
    if (!slash)
        return false;
    _cleanup_free_ char *head = xstrndup(s, (size_t)(slash - s));
    uint32_t a;
    int64_t bits;
    if (!address_parse(head, &a) || !parse_int(slash + 1, 8, 32, &bits))
        return false;
    *ret = (Cidr){a & mask((int)bits), (int)bits};
    return true;
}

const char *address_text(uint32_t a, char out[static ADDRESS_TEXT_MAX])
{
    (void)snprintf(out, ADDRESS_TEXT_MAX, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255,
                   a & 255);
    return out;
}

const char *cidr_text(Cidr c, char out[static ADDRESS_TEXT_MAX])
{
    address_text(c.base, out);
    size_t n = strlen(out);
    (void)snprintf(out + n, ADDRESS_TEXT_MAX - n, "/%d", c.bits);
    return out;
}

bool cidr_has(Cidr c, uint32_t a)
{
    return (a & mask(c.bits)) == c.base;
}

bool cidr_overlap(Cidr a, Cidr b)
{
    return a.bits <= b.bits ? cidr_has(a, b.base) : cidr_has(b, a.base);
}

void cidr_pools(Cidr c, uint32_t gateway, AddressRanges *ret)
{
    uint32_t first = c.base, last = c.base | ~mask(c.bits);
    /* A /31 and a /32 have no network and broadcast addresses. */
    if (c.bits < 31) {
        first++;
        last--;
    }
    if (!gateway || gateway < first || gateway > last) {
        vec_push(ret, (AddressRange){first, last});
        return;
    }
    if (gateway > first)
        vec_push(ret, (AddressRange){first, gateway - 1});
    if (gateway < last)
        vec_push(ret, (AddressRange){gateway + 1, last});
}

bool address_in(const Addresses *used, uint32_t a)
{
    for (size_t i = 0; i < used->len; i++)
        if (used->items[i] == a)
            return true;
    return false;
}

bool address_free(const AddressRanges *pools, const Addresses *used, uint32_t *ret)
{
    for (size_t i = 0; i < pools->len; i++)
        for (uint64_t a = pools->items[i].first; a <= pools->items[i].last; a++)
            if (!address_in(used, (uint32_t)a)) {
                *ret = (uint32_t)a;
                return true;
            }
    return false;
}

bool prefix_parse(const char *s, int *ret_family)
{
    unsigned char bytes[16];
    const char *slash = s ? strchr(s, '/') : NULL;
    _cleanup_free_ char *head =
        s ? xstrndup(s, slash ? (size_t)(slash - s) : strlen(s)) : xstrdup("");
    int family = strchr(head, ':') ? AF_INET6 : AF_INET;
    int64_t bits;
    if (inet_pton(family, head, bytes) != 1)
        return false;
    if (slash && !parse_int(slash + 1, 0, family == AF_INET ? 32 : 128, &bits))
        return false;
    *ret_family = family == AF_INET ? 4 : 6;
    return true;
}
