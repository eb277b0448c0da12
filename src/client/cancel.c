/* SPDX-License-Identifier: Apache-2.0 */
/* Ending calls early: a flag for who looks and a descriptor for who waits. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "client/client-internal.h"

struct carrel_cancel *carrel_cancel_new(struct carrel_error *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        error_os(err, errno, "eventfd");
        return NULL;
    }
    struct carrel_cancel *cancel = xcalloc(1, sizeof *cancel);
    cancel->fd = fd;
    return cancel;
}

void carrel_cancel(struct carrel_cancel *cancel)
{
    int saved = errno;
    atomic_store(&cancel->set, true);
    uint64_t one = 1;
    ssize_t n = write(cancel->fd, &one, sizeof one); /* full is as good */
    (void)n;
    errno = saved;
}

bool carrel_cancelled(const struct carrel_cancel *cancel)
{
    return atomic_load(&cancel->set);
}

void carrel_cancel_reset(struct carrel_cancel *cancel)
{
    uint64_t count;
    atomic_store(&cancel->set, false);
    ssize_t n = read(cancel->fd, &count, sizeof count);
    (void)n;
}

int carrel_cancel_fd(const struct carrel_cancel *cancel)
{
    return cancel->fd;
}

void carrel_cancel_free(struct carrel_cancel *cancel)
{
    if (!cancel)
        return;
    close(cancel->fd);
    free(cancel);
}
