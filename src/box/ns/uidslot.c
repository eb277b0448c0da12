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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

struct uidslots {
    unsigned instance;
    unsigned lowest; /* no slot below is free */
    bool used[BOX_SLOTS];
    int userns[BOX_SLOTS]; /* -1: not made yet */
};

struct uidslots *uidslots_new(unsigned instance)
{
    struct uidslots *slots = xcalloc(1, sizeof *slots);
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
    int ready[2]; /* pipe: errno of the holder's unshare */
};

/* Lives just long enough to have its namespace mapped and opened. It shares the launcher's memory
 * and descriptors, so it makes plain system calls only and leaves errno alone where it can.
 *
 * It makes the namespace as the slot's own host user: the kernel counts inotify instances, pending
 * signals and the like of everyone inside against the namespace's creator as well, and were that
 * root for all, one sandbox could use up everybody's. The capability to do so must outlast the
 * change of user (hosts may restrict user namespaces of ordinary users). */
static int hold(void *arg)
{
    const struct holder *holder = arg;
    int os = 0;
    if (syscall(SYS_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0 ||
        syscall(SYS_setresgid, -1, holder->uid, -1) < 0 ||
        syscall(SYS_setresuid, -1, holder->uid, -1) < 0 || syscall(SYS_unshare, CLONE_NEWUSER) < 0)
        os = errno;
    syscall(SYS_write, holder->ready[1], &os, sizeof os);
    for (;;)
        syscall(SYS_pause);
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

static int open_mapped(pid_t pid, struct holder *holder, int *ret, struct err *err)
{
    int os = EIO;
    if (fd_read_all(holder->ready[0], &os, sizeof os) != (ssize_t)sizeof os || os)
        return err_os(err, os, "user namespace: unshare");
    int rc = write_maps(pid, holder->uid, err);
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
    struct holder holder = {.uid = base};
    if (pipe2(holder.ready, O_CLOEXEC) < 0)
        return err_os(err, errno, "user namespace: pipe");
    char *stack = xmalloc(STACK);
    pid_t pid = clone(hold, stack + STACK, CLONE_VM | CLONE_FILES | SIGCHLD, &holder);
    int rc =
        pid < 0 ? err_os(err, errno, "user namespace: clone") : open_mapped(pid, &holder, ret, err);
    if (pid >= 0) {
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    close(holder.ready[0]);
    close(holder.ready[1]);
    free(stack);
    return rc;
}

int uidslots_userns(struct uidslots *slots, unsigned slot, int *ret_fd, struct err *err)
{
    if (slots->userns[slot] < 0) {
        int rc = make(box_uid_base(slots->instance, slot), &slots->userns[slot], err);
        if (rc < 0)
            return rc;
    }
    *ret_fd = slots->userns[slot];
    return 0;
}
