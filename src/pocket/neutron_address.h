/* IPv4 networks and the choice of free addresses. Pure. */
#pragma once
#include "base/util.h"
#include "base/vec.h"

typedef struct Cidr {
    uint32_t base; /* host byte order, host bits zero */
    int bits;
} Cidr;

typedef struct AddressRange {
    uint32_t first, last;
} AddressRange;
typedef VEC(AddressRange) AddressRanges;
typedef VEC(uint32_t) Addresses;

#define ADDRESS_TEXT_MAX 20

bool address_parse(const char *s, uint32_t *ret) _must_check_;
/* "10.0.0.5/24" is the network 10.0.0.0/24; prefixes from 8 to 32 bits. */
bool cidr_parse(const char *s, Cidr *ret) _must_check_;
const char *address_text(uint32_t a, char out[static ADDRESS_TEXT_MAX]);
const char *cidr_text(Cidr c, char out[static ADDRESS_TEXT_MAX]);
bool cidr_has(Cidr c, uint32_t a);
bool cidr_overlap(Cidr a, Cidr b);
/* All usable hosts but the gateway (0: none): what Neutron gives as allocation pools. Appends. */
void cidr_pools(Cidr c, uint32_t gateway, AddressRanges *ret);
/* The lowest address of the pools that is not used. */
bool address_free(const AddressRanges *pools, const Addresses *used, uint32_t *ret) _must_check_;
bool address_in(const Addresses *used, uint32_t a);
/* An address or prefix of either family, as a rule's remote_ip_prefix. */
bool prefix_parse(const char *s, int *ret_family) _must_check_;
