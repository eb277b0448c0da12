/* SPDX-License-Identifier: Apache-2.0 */
/* Pseudo-terminals, by ioctl alone: the other side is opened through ours (TIOCGPTPEER, Linux 4.13),
 * so no path in a file system that belongs to the sandbox is trusted. */
#include "agent/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

int terminal_resize(int fd, uint16_t cols, uint16_t rows)
{
    struct winsize size = {.ws_row = rows, .ws_col = cols};
    return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int terminal_open(uint16_t cols, uint16_t rows, uid_t owner, int *ret_ours, int *ret_theirs)
{
    _cleanup_close_ int ours = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    int unlocked = 0;
    if (ours < 0 || ioctl(ours, TIOCSPTLCK, &unlocked) < 0)
        return -errno;
    _cleanup_close_ int theirs = ioctl(ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (theirs < 0)
        return -errno;
    /* Best effort: a terminal that cannot be given away still works for root. */
    if (fchown(theirs, owner, (gid_t)-1) == 0)
        fchmod(theirs, 0620);
    if (cols && rows) {
        int rc = terminal_resize(ours, cols, rows);
        if (rc < 0)
            return rc;
    }
    *ret_ours = TAKE_FD(ours);
    *ret_theirs = TAKE_FD(theirs);
    return 0;
}
