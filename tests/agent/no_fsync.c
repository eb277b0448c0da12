/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that never says that it has the bytes, for test_terms.py. */
#include <errno.h>

int fsync(int fd);

__attribute__((visibility("default"))) int fsync(int fd)
{
    errno = EIO;
    return -1;
}
