/* SPDX-License-Identifier: Apache-2.0 */
/* Copies between here and a sandbox: single files; directories are tree_up.c's and tree_down.c's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "client/file.h"
#include "client/landing.h"
#include "client/tree.h"

void tree_progress(struct tree_progress *p, int64_t bytes, int64_t files)
{
    p->bytes += bytes;
    p->files += files;
    if (p->transfer && p->transfer->progress)
        p->transfer->progress(p->transfer->arg, p->bytes, p->files, p->total);
}

/* ---- up ---- */

struct upload {
    struct fd_source source;
    struct tree_progress progress;
};

static ssize_t on_read(void *arg, void *p, size_t n)
{
    struct upload *up = arg;
    ssize_t got = fd_source_read(&up->source, p, n);
    if (got > 0)
        tree_progress(&up->progress, got, 0);
    return got;
}

static int upload_file(struct carrel_sandbox *sandbox, const char *from, const char *to, int fd,
                       const struct stat *st, const struct carrel_transfer *transfer,
                       const struct carrel_call *call, struct carrel_error *err)
{
    struct upload up = {.progress = {transfer, 0, 0, st->st_size}};
    fd_source_init(&up.source, fd, call);
    int rc =
        file_write_sized(sandbox, to, on_read, &up, up.source.size, st->st_mode & 0777, call, err);
    if (rc == -CARREL_CANCELED && up.source.error)
        return error_os(err, up.source.error, "read %s", from);
    if (rc == 0)
        tree_progress(&up.progress, 0, 1);
    return rc;
}

int carrel_upload(struct carrel_sandbox *sandbox, const char *from, const char *to,
                  const struct carrel_transfer *transfer, const struct carrel_call *call,
                  struct carrel_error *err)
{
    struct stat st;
    _cleanup_close_ int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_os(err, errno, "open %s", from);
    if (S_ISDIR(st.st_mode))
        return tree_upload(sandbox, from, to, transfer, call, err);
    return upload_file(sandbox, from, to, fd, &st, transfer, call, err);
}

/* ---- down ---- */

struct download {
    struct landing landing;
    struct tree_progress progress;
    int error;
};

static int on_bytes(void *arg, const void *p, size_t n)
{
    struct download *down = arg;
    down->error = -fd_write_all(down->landing.fd, p, n);
    tree_progress(&down->progress, (int64_t)n, 0);
    return down->error;
}

static int download_file(struct carrel_sandbox *sandbox, const char *from, const char *to,
                         const struct carrel_entry *entry, const struct carrel_transfer *transfer,
                         const struct carrel_call *call, struct carrel_error *err)
{
    struct download down = {.progress = {transfer, 0, 0, entry ? entry->size : 0}};
    int rc = landing_open(&down.landing, AT_FDCWD, to);
    if (rc < 0)
        return error_os(err, -rc, "make %s", to);
    rc = carrel_file_read_to(sandbox, from, on_bytes, &down, call, err);
    if (down.error)
        rc = error_os(err, down.error, "write %s", to);
    if (rc == 0) {
        int64_t mtime_ns = entry && entry->modified_ms > 0 ? entry->modified_ms * CLOCK_MS : -1;
        int done = landing_finish(&down.landing, entry ? entry->mode : 0644, mtime_ns);
        if (done < 0)
            rc = error_os(err, -done, "put %s in its place", to);
        else
            tree_progress(&down.progress, 0, 1);
    }
    landing_done(&down.landing);
    return rc;
}

int carrel_download(struct carrel_sandbox *sandbox, const char *from, const char *to,
                    const struct carrel_transfer *transfer, const struct carrel_call *call,
                    struct carrel_error *err)
{
    struct carrel_entry_list list = {0};
    struct carrel_error why;
    int rc = carrel_file_stat(sandbox, from, call, &list, &why);
    /* Stat speaks JSON: of a name that is not UTF-8 only the content can be had. */
    if (rc < 0 && rc != -CARREL_INVALID) {
        if (err)
            *err = why;
        return rc;
    }
    const struct carrel_entry *entry = rc == 0 ? &list.items[0] : NULL;
    if (entry && entry->type == CARREL_FILE_DIRECTORY)
        rc = tree_download(sandbox, from, to, transfer, call, err);
    else
        rc = download_file(sandbox, from, to, entry, transfer, call, err);
    carrel_entry_list_done(&list);
    return rc;
}
