/* The two ends of a kit, among themselves (kit.h is for everybody else). Its text, before it is
 * sealed, is JSON:
 *
 *     {"v":1, "system", "hosts":[public keys],
 *      "base":{"name","id","facts","tli","start","stop","written","note"},
 *      "tli", "end":{"tli","end","last","beyond"}, "target":{"kind","time","lsn"},
 *      "histories":[[tli, [[parent, end], ...]], ...],
 *      "objects":[[name, bytes, written, note, gone], ...], by name
 *      "merged":[bodies of such notes], "urls":{name: address}, "grants":{...}}
 *
 * LSNs are texts, times milliseconds.
 */
#pragma once
#include "backup/kit.h"

#define KIT_PURPOSE "atoll restore kit"
