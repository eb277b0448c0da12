/* SPDX-License-Identifier: Apache-2.0 */
/* The agent as another program than init. */
#include "agent/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/keep.h"
#include "agent/upload_journal.h"
#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    MAGIC = 0x6361726c, /* "carl" */
    /* Grows with the layout of anything that is handed over: this file, the arena, the records. A
     * program of another number is not understood, and ends at once. */
    VERSION = 1,
    SIZE_MAX_TEXT = 4 << 20,
    EXIT_STRANGE = 71,
};

static char word[] = "take-over";

/* In a memory file, followed by the configuration, the spool directory and what keep_pack says. */
struct handover {
    uint32_t magic, version;
    int32_t listen_fd, memory_fd, cpu_fd, oom_fd, pids_fd, leave_fd, journal_fd;
    int32_t join_fds[AGENT_JOINS], rescue_fds[AGENT_JOINS];
    uint32_t in_group;
    uint32_t config_len, spool_dir_len, keep_len;
};

static void pass_on(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
}

static void take(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void each_fd(const struct handover *h, void (*fn)(int fd))
{
    const int32_t fds[] = {h->listen_fd, h->memory_fd, h->cpu_fd,    h->oom_fd,
                           h->pids_fd,   h->leave_fd,  h->journal_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        fn(fds[i]);
    for (int i = 0; i < AGENT_JOINS; i++) {
        fn(h->join_fds[i]);
        fn(h->rescue_fds[i]);
    }
}

static int write_down(const struct agent_start *start, struct buf *out)
{
    struct buf kept;
    struct handover h = {
        .magic = MAGIC,
        .version = VERSION,
        .listen_fd = start->listen_fd,
        .memory_fd = start->memory_fd,
        .cpu_fd = start->cpu_fd,
        .oom_fd = start->oom_fd,
        .pids_fd = start->pids_fd,
        .leave_fd = start->leave_fd,
        .journal_fd = upload_journal_fd(),
        .in_group = start->in_group,
        .config_len = (uint32_t)start->config_len,
        .spool_dir_len = start->spool_dir ? (uint32_t)strlen(start->spool_dir) : 0,
    };
    memcpy(h.join_fds, start->join_fds, sizeof h.join_fds);
    memcpy(h.rescue_fds, start->rescue_fds, sizeof h.rescue_fds);
    buf_init(&kept, SIZE_MAX_TEXT);
    int rc = keep_pack(start->keep, &kept);
    h.keep_len = (uint32_t)buf_len(&kept);
    if (rc == 0)
        rc = buf_append(out, &h, sizeof h);
    if (rc == 0)
        rc = buf_append(out, start->config, h.config_len);
    if (rc == 0 && h.spool_dir_len)
        rc = buf_append(out, start->spool_dir, h.spool_dir_len);
    if (rc == 0)
        rc = buf_append(out, buf_ptr(&kept), h.keep_len);
    buf_done(&kept);
    each_fd(&h, pass_on);
    return rc;
}

void handover_exec(int program, const struct agent_start *start)
{
    static char name[] = "carrel-agent", *const environment[] = {NULL};
    _cleanup_(buf_done) struct buf text;
    char number[16];
    char *const argv[] = {name, word, number, NULL};
    buf_init(&text, SIZE_MAX_TEXT);
    int fd = memfd_create("carrel-handover", 0);
    if (!start->keep || fd < 0 || write_down(start, &text) < 0 ||
        fd_write_all(fd, buf_ptr(&text), buf_len(&text)) < 0)
        return;
    snprintf(number, sizeof number, "%d", fd);
    syscall(SYS_execveat, program, "", argv, environment, AT_EMPTY_PATH);
}

/* ---- in the program ---- */

bool handover_asked(int argc, char **argv)
{
    return argc == 3 && strcmp(argv[1], word) == 0;
}

/* Takes n bytes off the front. */
static struct str cut(struct str *text, size_t n)
{
    if (n > text->len)
        return (struct str){NULL, 0};
    struct str part = {text->p, n};
    *text = (struct str){text->p + n, text->len - n};
    return part;
}

static int read_back(struct str text, struct agent_start *ret)
{
    struct handover h;
    struct str head = cut(&text, sizeof h);
    if (!head.p)
        return -EPROTO;
    memcpy(&h, head.p, sizeof h);
    if (h.magic != MAGIC || h.version != VERSION)
        return -EPROTO;
    struct str config = cut(&text, h.config_len), spool_dir = cut(&text, h.spool_dir_len);
    struct str kept = cut(&text, h.keep_len);
    if (!config.p || !spool_dir.p || !kept.p)
        return -EPROTO;
    each_fd(&h, take);
    *ret = (struct agent_start){
        .listen_fd = h.listen_fd,
        .memory_fd = h.memory_fd,
        .cpu_fd = h.cpu_fd,
        .oom_fd = h.oom_fd,
        .pids_fd = h.pids_fd,
        .leave_fd = h.leave_fd,
        .in_group = h.in_group,
        .config = xstrndup(config.p, config.len),
        .config_len = config.len,
        .keep = keep_unpack(kept),
        .spool_dir = spool_dir.len ? xstrndup(spool_dir.p, spool_dir.len) : NULL,
    };
    memcpy(ret->join_fds, h.join_fds, sizeof h.join_fds);
    memcpy(ret->rescue_fds, h.rescue_fds, sizeof h.rescue_fds);
    upload_journal_adopt(h.journal_fd);
    return ret->keep ? 0 : -EPROTO;
}

int handover_main(char **argv)
{
    struct agent_start start;
    uint64_t fd;
    /* What the program was exec'ed from cannot be read by anybody inside, and neither can we. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NAME, "carrel-agent", 0, 0, 0);
    if (str_to_u64(str_from(argv[2]), INT32_MAX, &fd) < 0)
        return EXIT_STRANGE;
    off_t size = lseek((int)fd, 0, SEEK_END);
    char *text = size > 0 && size < SIZE_MAX_TEXT ? xmalloc((size_t)size) : NULL;
    bool good = text && lseek((int)fd, 0, SEEK_SET) == 0 &&
                fd_read_all((int)fd, text, (size_t)size) == size &&
                read_back((struct str){text, (size_t)size}, &start) == 0;
    free(text);
    close((int)fd);
    return good ? agent_main(&start) : EXIT_STRANGE;
}
