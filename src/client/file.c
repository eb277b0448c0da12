/* SPDX-License-Identifier: Apache-2.0 */
/* Contents of files: into memory, descriptors and callbacks, and out of them. */
#include "client/file.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "client/call.h"

enum { READ_MAX = 1 << 30 };

char *file_target(const char *route, const char *path, const struct carrel_call *call)
{
    char *coded = curl_easy_escape(NULL, path, 0);
    char *user = call && call->user ? curl_easy_escape(NULL, call->user, 0) : NULL;
    char *all = xasprintf("%s?path=%s%s%s", route, coded ? coded : "", user ? "&username=" : "",
                          user ? user : "");
    curl_free(coded);
    curl_free(user);
    return all;
}

/* ---- reading ---- */

int carrel_file_read_to(struct carrel_sandbox *sandbox, const char *path, carrel_sink_fn *sink,
                        void *arg, const struct carrel_call *call, struct carrel_error *err)
{
    _cleanup_free_ char *target = file_target("/files", path, call);
    struct exchange x;
    exchange_begin(&x, sandbox->client, call);
    exchange_to_sandbox(&x, sandbox, CLIENT_AGENT_PORT);
    x.sink = sink;
    x.arg = arg;
    int rc = exchange_start(&x, "GET", target, err);
    if (rc == 0)
        rc = exchange_run(&x, err);
    exchange_end(&x);
    return rc == -CARREL_CUT ? call_explain_cut(sandbox, rc, err) : rc;
}

struct to_memory {
    struct buf buf;
    bool full;
};

static int keep(void *arg, const void *p, size_t n)
{
    struct to_memory *to = arg;
    to->full = buf_append(&to->buf, p, n) < 0;
    return to->full;
}

int carrel_file_read(struct carrel_sandbox *sandbox, const char *path, size_t max,
                     const struct carrel_call *call, char **ret, size_t *ret_len,
                     struct carrel_error *err)
{
    struct to_memory to = {0};
    buf_init(&to.buf, max ? max : READ_MAX);
    int rc = carrel_file_read_to(sandbox, path, keep, &to, call, err);
    if (rc == -CARREL_CANCELED && to.full)
        rc = error_set(err, CARREL_LIMIT, "%s is larger than %zu bytes", path, to.buf.ceiling);
    if (rc == 0) {
        *ret_len = buf_len(&to.buf);
        *ret = xstrndup(buf_str(&to.buf).p, *ret_len);
    }
    buf_done(&to.buf);
    return rc;
}

struct to_fd {
    int fd;
    int error;
};

static int put(void *arg, const void *p, size_t n)
{
    struct to_fd *to = arg;
    to->error = -fd_write_all(to->fd, p, n);
    return to->error;
}

int carrel_file_read_fd(struct carrel_sandbox *sandbox, const char *path, int fd,
                        const struct carrel_call *call, struct carrel_error *err)
{
    struct to_fd to = {.fd = fd};
    int rc = carrel_file_read_to(sandbox, path, put, &to, call, err);
    return to.error ? error_os(err, to.error, "write what %s holds", path) : rc;
}

/* ---- writing ---- */

static int post(struct carrel_sandbox *sandbox, const char *path, struct exchange *x,
                struct carrel_error *err)
{
    exchange_to_sandbox(x, sandbox, CLIENT_AGENT_PORT);
    int rc = exchange_start(x, "POST", path, err);
    if (rc == 0)
        rc = exchange_run(x, err);
    exchange_end(x);
    return rc == -CARREL_CUT ? call_explain_cut(sandbox, rc, err) : rc;
}

int carrel_file_write(struct carrel_sandbox *sandbox, const char *path, const void *p, size_t n,
                      const struct carrel_call *call, struct carrel_error *err)
{
    _cleanup_free_ char *target = file_target("/files", path, call);
    struct exchange x;
    exchange_begin(&x, sandbox->client, call);
    exchange_body(&x, "application/octet-stream", n ? p : "", n);
    return post(sandbox, target, &x, err);
}

int file_write_sized(struct carrel_sandbox *sandbox, const char *path, carrel_source_fn *source,
                     void *arg, int64_t size, int mode, const struct carrel_call *call,
                     struct carrel_error *err)
{
    _cleanup_free_ char *plain = file_target("/files", path, call);
    _cleanup_free_ char *target =
        mode < 0 ? NULL : xasprintf("%s&mode=%04o", plain, (unsigned)mode);
    struct exchange x;
    exchange_begin(&x, sandbox->client, call);
    exchange_source(&x, "application/octet-stream", source, arg, size);
    return post(sandbox, target ? target : plain, &x, err);
}

int carrel_file_write_from(struct carrel_sandbox *sandbox, const char *path,
                           carrel_source_fn *source, void *arg, const struct carrel_call *call,
                           struct carrel_error *err)
{
    return file_write_sized(sandbox, path, source, arg, -1, -1, call, err);
}

/* ---- a descriptor as a source ---- */

void fd_source_init(struct fd_source *from, int fd, const struct carrel_call *call)
{
    struct stat st;
    *from = (struct fd_source){.fd = fd, .cancel = call ? call->cancel : NULL, .size = -1};
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && at >= 0 && st.st_size > at) {
        from->size = st.st_size - at;
        from->plain = true;
    }
}

/* A pipe or a terminal may have nothing for long: a cancelled call must not wait for it. */
static bool ready(const struct fd_source *from)
{
    struct pollfd fds[] = {{.fd = from->fd, .events = POLLIN},
                           {.fd = from->cancel ? from->cancel->fd : -1, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            return false;
    return fds[1].revents == 0;
}

ssize_t fd_source_read(void *arg, void *p, size_t n)
{
    struct fd_source *from = arg;
    ssize_t got;
    if (from->size >= 0 && (int64_t)n > from->size - from->given)
        n = (size_t)(from->size - from->given); /* as promised, even if the file grows */
    if (!from->plain && !ready(from))
        return -1;
    do
        got = read(from->fd, p, n);
    while (got < 0 && errno == EINTR && !(from->cancel && carrel_cancelled(from->cancel)));
    if (got < 0)
        from->error = errno;
    else
        from->given += got;
    if (got == 0 && from->given < from->size) { /* it shrank: never half a file for a whole one */
        from->error = EIO;
        return -1;
    }
    return got;
}

int carrel_file_write_fd(struct carrel_sandbox *sandbox, const char *path, int fd,
                         const struct carrel_call *call, struct carrel_error *err)
{
    struct fd_source from;
    fd_source_init(&from, fd, call);
    int rc = file_write_sized(sandbox, path, fd_source_read, &from, from.size, -1, call, err);
    if (rc == -CARREL_CANCELED && from.error && from.error != EINTR)
        return error_os(err, from.error, "read what goes to %s", path);
    return rc;
}
