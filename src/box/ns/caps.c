/* SPDX-License-Identifier: Apache-2.0 */
/* Reducing capabilities of the calling process. */
#include "box/ns/caps.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int caps_bound(uint64_t keep)
{
    /* The kernel may know more capabilities than our headers: go on until it says no. */
    for (unsigned long cap = 0; cap < 64; cap++) {
        if (cap <= CAP_LAST_CAP && (keep & CAPS_BIT(cap)))
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            /* Past the last one that this kernel knows. */
            return errno == EINVAL ? 0 : -errno;
        }
    }
    return 0;
}

int caps_set(uint64_t keep)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        {.effective = (uint32_t)keep, .permitted = (uint32_t)keep},
        {.effective = (uint32_t)(keep >> 32), .permitted = (uint32_t)(keep >> 32)}};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}
