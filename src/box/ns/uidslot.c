/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of ids and their user namespaces. */
#include "box/ns/uidslot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

struct uidslots {
    unsigned instance;
    bool identity;
    unsigned lowest; /* no slot below is free */
    bool used[BOX_SLOTS];
    int userns[BOX_SLOTS]; /* -1: not made yet */
};

struct uidslots *uidslots_new(unsigned instance, bool identity)
{
    struct uidslots *slots = xcalloc(1, sizeof *slots);
    slots->identity = identity;
    slots->instance = instance;
    for (size_t i = 0; i < BOX_SLOTS; i++)
        slots->userns[i] = -1;
    return slots;
}

void uidslots_free(struct uidslots *slots)
{
    if (!slots)
        return;
    for (size_t i = 0; i < BOX_SLOTS; i++)
        fd_closep(&slots->userns[i]);
    free(slots);
}

int uidslots_take(struct uidslots *slots)
{
    for (unsigned i = slots->lowest; i < BOX_SLOTS; i++) {
        if (!slots->used[i]) {
            slots->used[i] = true;
            slots->lowest = i + 1;
            return (int)i;
        }
    }
    slots->lowest = BOX_SLOTS;
    return -1;
}

bool uidslots_claim(struct uidslots *slots, unsigned slot)
{
    if (slot >= BOX_SLOTS || slots->used[slot])
        return false;
    slots->used[slot] = true;
    return true;
}

void uidslots_release(struct uidslots *slots, unsigned slot)
{
    slots->used[slot] = false;
    if (slot < slots->lowest)
        slots->lowest = slot;
}

struct holder {
    uint32_t uid;
    int sock; /* says the errno of unshare, then ends when the launcher's end is closed */
};

/* Lives just long enough to have its namespace mapped and opened. It shares the launcher's memory,
 * so it makes plain system calls only; it keeps none of its descriptors, so that nothing of a
 * launcher that dies right now (its lock, say) lives on in here.
 *
 * It makes the namespace as the slot's own host user: the kernel counts inotify instances, pending
 * signals and the like of everyone inside against the namespace's creator as well, and were that
 * root for all, one sandbox could use up everybody's. The capability to do so must outlast the
 * change of user (hosts may restrict user namespaces of ordinary users). */
static int hold(void *arg)
{
    const struct holder holder = *(const struct holder *)arg;
    int os = 0;
    if (holder.sock > 0)
        syscall(SYS_close_range, 0, holder.sock - 1, 0);
    syscall(SYS_close_range, holder.sock + 1, ~0U, 0);
    if (syscall(SYS_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0 ||
        syscall(SYS_setresgid, -1, holder.uid, -1) < 0 ||
        syscall(SYS_setresuid, -1, holder.uid, -1) < 0 || syscall(SYS_unshare, CLONE_NEWUSER) < 0)
        os = errno;
    syscall(SYS_write, holder.sock, &os, sizeof os);
    syscall(SYS_read, holder.sock, &os, 1);
    syscall(SYS_exit_group, 0);
    return 0;
}

static int write_maps(pid_t pid, uint32_t base, struct err *err)
{
    static const char *const files[] = {"uid_map", "gid_map"};
    char path[48], text[48];
    snprintf(text, sizeof text, "0 %u %d", base, BOX_UIDS);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, files[i]);
        int rc = fd_write_file(AT_FDCWD, path, text);
        if (rc < 0)
            return err_os(err, -rc, "user namespace: write %s", files[i]);
    }
    return 0;
}

static int open_mapped(pid_t pid, int sock, uint32_t base, int *ret, struct err *err)
{
    int os = EIO;
    if (fd_read_all(sock, &os, sizeof os) != (ssize_t)sizeof os || os)
        return err_os(err, os, "user namespace: unshare");
    int rc = write_maps(pid, base, err);
    if (rc < 0)
        return rc;
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_os(err, errno, "user namespace: open");
    *ret = fd;
    return 0;
}

static int make(uint32_t base, int *ret, struct err *err)
{
    enum { STACK = 16384 };
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_os(err, errno, "user namespace: socket pair");
    struct holder holder = {base, pair[1]};
    char *stack = xmalloc(STACK);
    pid_t pid = clone(hold, stack + STACK, CLONE_VM | SIGCHLD, &holder);
    int rc = pid < 0 ? err_os(err, errno, "user namespace: clone") : 0;
    close(pair[1]);
    if (rc == 0)
        rc = open_mapped(pid, pair[0], base, ret, err);
    close(pair[0]);
    /* It uses our stack: not before it is gone. */
    while (pid >= 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    free(stack);
    return rc;
}

int uidslots_userns(struct uidslots *slots, unsigned slot, int *ret_fd, struct err *err)
{
    if (slots->userns[slot] < 0) {
        uint32_t base = slots->identity ? 0 : box_uid_base(slots->instance, slot);
        int rc = make(base, &slots->userns[slot], err);
        if (rc < 0)
            return rc;
    }
    *ret_fd = slots->userns[slot];
    return 0;
}
