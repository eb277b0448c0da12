/* SPDX-License-Identifier: Apache-2.0 */
/* How a tar stream gets into a sandbox and out of it: through the sandbox's own tar. */
#include "client/tree_link.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/file.h"
#include "client/tree.h"

enum { PIECE = 1 << 20, COMPLAINT_MAX = 160 };

/* The first line that a program said on its standard error. */
struct complaint {
    carrel_sink_fn *sink; /* for its standard output, NULL: nobody */
    void *arg;
    char text[COMPLAINT_MAX];
    size_t len;
};

static int on_output(void *arg, enum carrel_stream stream, const void *bytes, size_t n)
{
    struct complaint *c = arg;
    if (stream == CARREL_STDOUT)
        return c->sink ? c->sink(c->arg, bytes, n) : 0;
    size_t room = sizeof c->text - 1 - c->len;
    memcpy(c->text + c->len, bytes, n < room ? n : room);
    c->len += n < room ? n : room;
    return 0;
}

/* Waits for the end of a helper, which must be a good one. */
static int finish(struct carrel_process *process, struct complaint *c, const char *what,
                  struct carrel_error *err)
{
    struct carrel_exit how;
    int rc = carrel_process_wait(process, on_output, c, &how, err);
    if (rc < 0)
        return rc;
    c->text[c->len] = '\0';
    c->text[strcspn(c->text, "\n")] = '\0';
    if (how.code == 127)
        return error_set(err, CARREL_UNSUPPORTED, "the sandbox has no %s", what);
    if (how.code != 0)
        return error_set(err, strstr(c->text, "No space left") ? CARREL_NO_SPACE : CARREL_SERVER,
                         "%s in the sandbox: %s", what, c->len ? c->text : how.status);
    return 0;
}

int tree_run(struct carrel_sandbox *sandbox, const char *const *argv,
             const struct carrel_call *call, struct carrel_error *err)
{
    struct carrel_process *process;
    struct complaint c = {0};
    int rc = carrel_process_start(sandbox, argv, NULL, call, &process, err);
    if (rc < 0)
        return rc;
    rc = finish(process, &c, argv[0], err);
    carrel_process_free(process);
    return rc;
}

static int pump(struct carrel_process *process, carrel_source_fn *source, void *arg,
                const struct carrel_call *call, struct carrel_error *err)
{
    _cleanup_free_ char *piece = xmalloc(PIECE);
    ssize_t n;
    int rc = 0;
    while (rc == 0 && (n = source(arg, piece, PIECE)) != 0) {
        if (n < 0)
            return error_set(err, CARREL_CANCELED, "ended by the caller");
        rc = carrel_process_write(process, piece, (size_t)n, call, err);
    }
    return rc == 0 ? carrel_process_close_stdin(process, call, err) : rc;
}

int tree_link_send(struct carrel_sandbox *sandbox, const char *to, carrel_source_fn *source,
                   void *arg, const struct carrel_call *call, struct carrel_error *err)
{
    const struct carrel_command command = {.open_stdin = true};
    struct carrel_process *process;
    struct carrel_error why;
    struct complaint c = {0};
    _cleanup_free_ char *dir = NULL;
    int rc = carrel_file_make_dir(sandbox, to, call, err);
    if (rc == 0 || rc == -CARREL_EXISTS)
        rc = file_resolve(sandbox, to, call, &dir, err);
    if (rc < 0)
        return rc;
    const char *const argv[] = {"tar", "-x", "-p", "--no-same-owner", "-C", dir, "-f", "-", NULL};
    rc = carrel_process_start(sandbox, argv, &command, call, &process, err);
    if (rc < 0)
        return rc;
    rc = pump(process, source, arg, call, err);
    if (rc == -CARREL_CANCELED) {
        carrel_process_signal(process, 9, false, NULL, NULL);
    } else {
        /* What tar says is more to the point than that its input is closed. */
        int end = finish(process, &c, "tar", &why);
        if (end < 0 && err)
            *err = why;
        rc = end < 0 ? end : rc;
    }
    carrel_process_free(process);
    return rc;
}

int tree_link_receive(struct carrel_sandbox *sandbox, const char *from, carrel_sink_fn *sink,
                      void *arg, const struct carrel_call *call, struct carrel_error *err)
{
    const struct carrel_command command = {.forget_output = true};
    struct carrel_process *process;
    struct complaint c = {.sink = sink, .arg = arg};
    _cleanup_free_ char *dir = NULL;
    int rc = file_resolve(sandbox, from, call, &dir, err);
    if (rc < 0)
        return rc;
    const char *const argv[] = {"tar", "-c", "-C", dir, "-f", "-", ".", NULL};
    rc = carrel_process_start(sandbox, argv, &command, call, &process, err);
    if (rc < 0)
        return rc;
    rc = finish(process, &c, "tar", err);
    if (rc < 0)
        carrel_process_signal(process, 9, false, NULL, NULL);
    carrel_process_free(process);
    return rc;
}
