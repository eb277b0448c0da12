/* SPDX-License-Identifier: Apache-2.0 */
/* Policies from messages. */
#include "launcher/network.h"

#include <string.h>

#include "base/hostname.h"
#include "launcher/message.h"

_Static_assert((int)LAUNCHER_RANGES_MAX <= (int)BOX_RANGES_MAX, "ranges fit");
_Static_assert((int)LAUNCHER_NAMES_BYTES <= (int)BOX_NAMES_BYTES, "names fit");

/* The struct has been copied out; what follows is not aligned. */
static int read_ranges(const char *bytes, uint32_t count, struct box_range *ret, struct err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        struct launcher_range range;
        memcpy(&range, bytes + i * sizeof range, sizeof range);
        uint32_t rest = range.prefix == 0   ? UINT32_MAX
                        : range.prefix > 32 ? 0
                                            : (uint32_t)((UINT64_C(1) << (32 - range.prefix)) - 1);
        if (range.prefix > 32 || (range.address & rest))
            return err_set(err, ERR_INVALID, 0, "network: malformed range");
        ret[i] = (struct box_range){range.address, range.address | rest};
    }
    return 0;
}

static int read_names(const char *bytes, uint32_t len, struct box_network *ret, struct err *err)
{
    uint32_t count = 0;
    if (len > 0 && bytes[len - 1] != '\0')
        return err_set(err, ERR_INVALID, 0, "network: the last name is cut");
    for (uint32_t at = 0; at < len; at += (uint32_t)strlen(bytes + at) + 1)
        if (!hostname_pattern_valid(str_from(bytes + at)) || ++count > LAUNCHER_NAMES_MAX)
            return err_set(err, ERR_INVALID, 0, "network: malformed name");
    memcpy(ret->names, bytes, len);
    ret->names_len = len;
    return 0;
}

int network_from_message(const char *bytes, size_t len, struct box_network *ret, struct err *err)
{
    struct launcher_network head;
    if (len < sizeof head)
        return err_set(err, ERR_INVALID, 0, "network: cut");
    memcpy(&head, bytes, sizeof head);
    if (head.allow_count > LAUNCHER_RANGES_MAX || head.deny_count > LAUNCHER_RANGES_MAX ||
        head.names_len > LAUNCHER_NAMES_BYTES ||
        len != sizeof head + (head.allow_count + head.deny_count) * sizeof(struct launcher_range) +
                   head.names_len)
        return err_set(err, ERR_INVALID, 0, "network: malformed");
    memset(ret, 0, sizeof *ret);
    const char *allow = bytes + sizeof head;
    const char *deny = allow + head.allow_count * sizeof(struct launcher_range);
    const char *names = deny + head.deny_count * sizeof(struct launcher_range);
    int rc = read_ranges(allow, head.allow_count, ret->allow, err);
    if (rc == 0)
        rc = read_ranges(deny, head.deny_count, ret->deny, err);
    if (rc == 0)
        rc = read_names(names, head.names_len, ret, err);
    if (rc < 0)
        return rc;
    ret->allow_count = head.allow_count;
    ret->deny_count = head.deny_count;
    box_network_settle(ret);
    if (ret->names_len > 0 && !ret->deny_all)
        return err_set(err, ERR_INVALID, 0, "network: names need all addresses to be denied");
    return 0;
}
