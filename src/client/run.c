/* SPDX-License-Identifier: Apache-2.0 */
/* Running a line of shell from its start to its end. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "client/client-internal.h"

enum { OUTPUT_MAX = 64 << 20 };

struct collect {
    const struct carrel_command *command;
    struct buf out, err;
    bool full;
};

static int on_output(void *arg, enum carrel_stream stream, const void *bytes, size_t n)
{
    struct collect *c = arg;
    if (c->command->on_output)
        return c->command->on_output(c->command->arg, stream, bytes, n);
    c->full = buf_append(stream == CARREL_STDERR ? &c->err : &c->out, bytes, n) < 0;
    return c->full;
}

int carrel_run(struct carrel_sandbox *sandbox, const char *line,
               const struct carrel_command *command, const struct carrel_call *call,
               struct carrel_result *ret, struct carrel_error *err)
{
    static const struct carrel_command defaults;
    const char *const argv[] = {"/bin/bash", "-l", "-c", line, NULL};
    struct collect c = {.command = command ? command : &defaults};
    size_t max = c.command->max_output ? c.command->max_output : OUTPUT_MAX;
    struct carrel_process *process;
    struct carrel_exit how;
    int rc = carrel_process_start(sandbox, argv, c.command, call, &process, err);
    if (rc < 0)
        return rc;
    buf_init(&c.out, max);
    buf_init(&c.err, max);
    rc = carrel_process_wait(process, on_output, &c, &how, err);
    if (rc == -CARREL_CANCELED && c.full)
        rc = error_set(err, CARREL_LIMIT, "the command's output is larger than %zu bytes", max);
    carrel_process_free(process);
    if (rc == 0)
        *ret = (struct carrel_result){
            .out = xstrndup(buf_str(&c.out).p, buf_len(&c.out)),
            .out_len = buf_len(&c.out),
            .err = xstrndup(buf_str(&c.err).p, buf_len(&c.err)),
            .err_len = buf_len(&c.err),
            .exit = how,
        };
    buf_done(&c.out);
    buf_done(&c.err);
    return rc;
}

void carrel_result_done(struct carrel_result *result)
{
    free(result->out);
    free(result->err);
    *result = (struct carrel_result){0};
}
