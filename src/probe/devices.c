/* SPDX-License-Identifier: Apache-2.0 */
/* /dev, device nodes, terminals. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "probe/probe.h"

#ifndef TIOCLINUX
#define TIOCLINUX 0x541C
#endif

static const struct {
    const char *name;
    unsigned major_id, minor_id; /* 0: no device node */
} minimal[] = {{"null", 1, 3},    {"zero", 1, 5},   {"full", 1, 7},  {"random", 1, 8},
               {"urandom", 1, 9}, {"tty", 5, 0},    {"ptmx", 5, 2},  {"pts", 0, 0},
               {"shm", 0, 0},     {"fd", 0, 0},     {"stdin", 0, 0}, {"stdout", 0, 0},
               {"stderr", 0, 0},  {"mqueue", 0, 0}, {"core", 0, 0}};

static bool expected(const char *name, const struct stat *st)
{
    bool node = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
    for (size_t i = 0; i < ARRAY_SIZE(minimal); i++) {
        if (strcmp(minimal[i].name, name) != 0)
            continue;
        if (!node)
            return true;
        return S_ISCHR(st->st_mode) && major(st->st_rdev) == minimal[i].major_id &&
               minor(st->st_rdev) == minimal[i].minor_id;
    }
    return false;
}

static void try_dev(const struct probe *self, const struct probe_input *in,
                    struct probe_report *out)
{
    DIR *dir = opendir("/dev");
    unsigned count = 0;
    if (!dir) {
        probe_say(out, PROBE_UNKNOWN, "no /dev");
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        count++;
        if (!expected(entry->d_name, &st))
            probe_note(out, false, "/dev/%s", entry->d_name);
    }
    closedir(dir);
    struct statvfs vfs;
    if (statvfs("/dev", &vfs) < 0 || !(vfs.f_flag & ST_RDONLY))
        probe_note(out, false, "/dev is not read-only");
    if (out->verdict == PROBE_HELD)
        probe_say(out, PROBE_HELD, "%u entries, read-only", count);
}

/* Ends with nothing in /dev/shm, whatever happens. */
static void try_mknod(const struct probe *self, const struct probe_input *in,
                      struct probe_report *out)
{
    static const struct {
        const char *what;
        mode_t type;
        unsigned major_id, minor_id;
    } nodes[] = {{"null", S_IFCHR, 1, 3}, {"kmsg", S_IFCHR, 1, 11}, {"disk", S_IFBLK, 7, 200}};
    static const char *const places[] = {"/tmp", "/dev/shm", "."};
    for (size_t p = 0; p < ARRAY_SIZE(places); p++) {
        for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
            char path[128], what[64];
            snprintf(path, sizeof path, "%s/carrel-probe-node-%d", places[p], getpid());
            snprintf(what, sizeof what, "%s in %s", nodes[i].what, places[p]);
            int rc =
                mknod(path, nodes[i].type | 0600, makedev(nodes[i].major_id, nodes[i].minor_id));
            probe_tried(out, what, rc, (const int[]){EROFS, ENOENT, 0});
            if (rc == 0)
                unlink(path);
        }
    }
}

static void try_pts(const struct probe *self, const struct probe_input *in,
                    struct probe_report *out)
{
    unsigned others = 0;
    DIR *dir = opendir("/dev/pts");
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        others += entry->d_name[strspn(entry->d_name, "0123456789")] == '\0';
    if (dir)
        closedir(dir);
    _cleanup_close_ int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    unsigned number = 0;
    if (fd < 0 || ioctl(fd, TIOCGPTN, &number) < 0) {
        probe_say(out, PROBE_UNKNOWN, "no terminal can be made: %s", probe_errno(errno));
        return;
    }
    /* A fresh instance counts from 0. */
    probe_say(out, number == others && others < 4 ? PROBE_HELD : PROBE_OPEN,
              "%u terminals, the next is %u", others, number);
}

static void try_typing(const struct probe *self, const struct probe_input *in,
                       struct probe_report *out)
{
    int number = 0, discipline = 1000;
    char letter = 'x', subcode = 6, name[32];
    _cleanup_close_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || unlockpt(master) < 0 || ioctl(master, TIOCGPTN, &number) < 0) {
        probe_say(out, PROBE_UNKNOWN, "no terminal can be made: %s", probe_errno(errno));
        return;
    }
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    signal(SIGHUP, SIG_IGN); /* of our own terminal, when it goes */
    setsid();
    _cleanup_close_ int slave = open(name, O_RDWR | O_CLOEXEC); /* the controlling terminal now */
    if (slave < 0) {
        probe_say(out, PROBE_UNKNOWN, "%s: %s", name, probe_errno(errno));
        return;
    }
    /* EIO: switched off by the host's dev.tty.legacy_tiocsti. */
    probe_tried(out, "TIOCSTI", ioctl(slave, TIOCSTI, &letter), (const int[]){EIO, 0});
    /* High bits set: a filter on the whole register would let it pass. */
    probe_tried(out, "TIOCSTI, high bits set", ioctl(slave, TIOCSTI | 0x100000000UL, &letter),
                (const int[]){EIO, 0});
    /* ENOTTY when the kernel is asked, since this is no console. */
    probe_tried(out, "TIOCLINUX", ioctl(slave, TIOCLINUX, &subcode), NULL);
    probe_tried(out, "TIOCSETD", ioctl(slave, TIOCSETD, &discipline), NULL);
}

static const struct probe probes[] = {
    {"dev", "12", "/dev holds the minimal set and is read-only", try_dev, NULL},
    {"mknod", "12", "no device node can be made", try_mknod, NULL},
    {"devpts", "12", "terminals are an instance of its own", try_pts, NULL},
    {"terminal", "6", "no typing for others, no console, no line discipline", try_typing, NULL},
};

const struct probe_group probe_devices = {"devices", probes, ARRAY_SIZE(probes), 10};
