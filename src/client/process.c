/* SPDX-License-Identifier: Apache-2.0 */
/* A process and the stream of its output. The process counts the bytes it has been given whole; a
 * stream that breaks is opened again at that count, so that none is lost and none comes twice. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "client/call.h"
#include "client/fields.h"
#include "client/process_event.h"
#include "client/process_input.h"

enum {
    RESUME_MS = 20000, /* how long a stream that broke is tried to be taken up again */
    PAUSE_MS = 50,     /* between two tries; doubled up to the next */
    PAUSE_MAX_MS = 1000,
    BYTES_MAX = 64 << 20,
};

struct carrel_process {
    struct carrel_sandbox *sandbox;
    struct carrel_call call; /* of the stream; its user is our copy */
    unsigned pid;
    atomic_bool terminal; /* input goes to its terminal */
    pthread_mutex_t lock; /* one reader at a time; of what follows */
    struct call_stream *stream;
    struct buf bytes;  /* of the last output */
    uint64_t position; /* offset behind the last byte that was given */
    bool unread;       /* began with what nobody had been given */
    bool counted;      /* the server counts: a broken stream can be taken up again */
    bool ended;
    struct carrel_exit exit;
};

static struct carrel_process *new_process(struct carrel_sandbox *sandbox,
                                          const struct carrel_call *call)
{
    struct carrel_process *process = xcalloc(1, sizeof *process);
    process->sandbox = sandbox;
    if (call)
        process->call = *call;
    process->call.user = call && call->user ? xstrdup(call->user) : NULL;
    pthread_mutex_init(&process->lock, NULL);
    buf_init(&process->bytes, BYTES_MAX);
    return process;
}

void carrel_process_free(struct carrel_process *process)
{
    if (!process)
        return;
    call_stream_free(process->stream);
    buf_done(&process->bytes);
    pthread_mutex_destroy(&process->lock);
    free((char *)process->call.user);
    free(process);
}

/* The first message of a stream says which process it is. */
static int take_start(struct carrel_process *process, int64_t deadline_ns, struct carrel_error *err)
{
    struct process_event event;
    struct str text;
    int rc = call_stream_next(process->stream, deadline_ns, &text, err);
    if (rc == 1)
        rc = process_event_parse(text, &process->bytes, &event, err);
    else if (rc == 0)
        rc = -CARREL_SERVER;
    if (rc == 0 && event.kind == PROCESS_EVENT_START)
        process->pid = event.pid;
    else if (rc == 0 || (rc == -CARREL_SERVER && !err))
        rc = error_set(err, CARREL_SERVER, "the stream of a process did not begin with its start");
    return rc;
}

static json_t *start_message(const char *const *argv, const struct carrel_command *c)
{
    json_t *args = json_array(),
           *config = json_pack("{s:s, s:o}", "cmd", argv[0], "envs", fields_from_pairs(c->envs));
    bool good = config != NULL;
    for (size_t i = 1; good && argv[i]; i++)
        good = json_array_append_new(args, json_string(argv[i])) == 0;
    if (!good) {
        json_decref(args);
        json_decref(config);
        return NULL;
    }
    json_object_set_new(config, "args", args);
    if (c->cwd && json_object_set_new(config, "cwd", json_string(c->cwd)) < 0) {
        json_decref(config);
        return NULL;
    }
    json_t *message = json_pack("{s:o, s:b}", "process", config, "keepOutput", !c->forget_output);
    if (c->columns && c->rows)
        json_object_set_new(message, "pty",
                            json_pack("{s:{s:I, s:I}}", "size", "cols", (json_int_t)c->columns,
                                      "rows", (json_int_t)c->rows));
    else
        json_object_set_new(message, "stdin", json_boolean(c->open_stdin));
    if (c->tag && json_object_set_new(message, "tag", json_string(c->tag)) < 0) {
        json_decref(message);
        return NULL;
    }
    return message;
}

int carrel_process_start(struct carrel_sandbox *sandbox, const char *const *argv,
                         const struct carrel_command *command, const struct carrel_call *call,
                         struct carrel_process **ret, struct carrel_error *err)
{
    static const struct carrel_command defaults;
    const struct carrel_command *c = command ? command : &defaults;
    if (!argv[0])
        return error_set(err, CARREL_INVALID, "no program named");
    struct carrel_process *process = new_process(sandbox, call);
    process->terminal = c->columns && c->rows;
    int rc = call_stream_open(sandbox, "process.Process/Start", start_message(argv, c),
                              c->time_limit_ms, call, &process->stream, err);
    if (rc == 0)
        rc = take_start(process, 0, err);
    if (rc == -CARREL_CUT)
        rc = call_explain_cut(sandbox, rc, err);
    if (rc < 0)
        carrel_process_free(process);
    else
        *ret = process;
    return rc;
}

static int attach(struct carrel_process *process, unsigned pid, int64_t offset, int64_t deadline_ns,
                  struct carrel_error *err)
{
    json_t *message = json_pack("{s:{s:I}}", "process", "pid", (json_int_t)pid);
    if (offset >= 0)
        json_object_set_new(message, "fromOffset", json_integer(offset));
    call_stream_free(process->stream);
    process->stream = NULL;
    int rc = call_stream_open(process->sandbox, "process.Process/Connect", message, 0,
                              &process->call, &process->stream, err);
    return rc < 0 ? rc : take_start(process, deadline_ns, err);
}

int carrel_process_attach(struct carrel_sandbox *sandbox, unsigned pid, int64_t offset,
                          const struct carrel_call *call, struct carrel_process **ret,
                          struct carrel_error *err)
{
    struct carrel_process *process = new_process(sandbox, call);
    process->position = offset > 0 ? (uint64_t)offset : 0;
    process->unread = offset < 0;
    int rc = attach(process, pid, offset, 0, err);
    if (rc == -CARREL_CUT)
        rc = call_explain_cut(sandbox, rc, err);
    if (rc < 0)
        carrel_process_free(process);
    else
        *ret = process;
    return rc;
}

unsigned carrel_process_pid(const struct carrel_process *process)
{
    return process->pid;
}

/* ---- reading ---- */

/* Whether trying again may help: the other side was away, not against it. */
static bool passing(int rc)
{
    return rc == -CARREL_CUT || rc == -CARREL_UNREACHABLE || rc == -CARREL_GONE;
}

static void pause_for(int64_t ms, const struct carrel_cancel *cancel)
{
    const struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    if (!cancel || !carrel_cancelled(cancel))
        nanosleep(&ts, NULL);
}

/* Takes the stream up where it was. A sandbox that is gone is asked for twice: while a server starts
 * again it may not know yet. */
static int resume(struct carrel_process *process, int64_t deadline_ns, struct carrel_error *err)
{
    int64_t give_up = clock_mono_ns() + RESUME_MS * CLOCK_MS, pause_ms = PAUSE_MS;
    struct carrel_error why = {0};
    bool gone = false, unread = process->unread && !process->counted;
    int64_t offset = unread ? CARREL_UNREAD : (int64_t)process->position;
    for (;;) {
        int rc = attach(process, process->pid, offset, give_up, &why);
        bool again = passing(rc) && !(rc == -CARREL_GONE && gone) && clock_mono_ns() < give_up;
        gone = rc == -CARREL_GONE;
        if (!again) {
            if (rc < 0 && err)
                *err = why;
            return rc;
        }
        if (deadline_ns && clock_mono_ns() >= deadline_ns)
            return error_set(err, CARREL_TIMEOUT, "time is up");
        pause_for(pause_ms, process->call.cancel);
        pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
    }
}

/* Cuts off what was given before. False: nothing of it is new. */
static bool advance(struct carrel_process *process, const struct process_event *event,
                    struct carrel_output *ret)
{
    size_t known = 0, len = buf_len(&process->bytes);
    uint64_t offset = process->position;
    if (event->counted) {
        offset = event->offset;
        if (process->counted && offset < process->position)
            known = process->position - offset < len ? process->position - offset : len;
        process->counted = true;
    }
    buf_consume(&process->bytes, known);
    if (event->stream == CARREL_TERMINAL)
        process->terminal = true; /* one that was attached to */
    *ret = (struct carrel_output){
        .stream = event->stream,
        .bytes = buf_ptr(&process->bytes),
        .len = len - known,
        .offset = offset + known,
        .missed = event->missed,
    };
    if (ret->len > 0)
        process->position = ret->offset + ret->len;
    return ret->len > 0 || ret->missed > 0;
}

enum { NOTHING_NEW = 2 };

/* One message: 1 output, 0 the end, NOTHING_NEW, or an error. */
static int read_one(struct carrel_process *process, int64_t deadline_ns, struct carrel_output *ret,
                    struct carrel_error *err)
{
    struct process_event event;
    struct str text;
    int rc = call_stream_next(process->stream, deadline_ns, &text, err);
    if (rc == 0)
        return error_set(err, CARREL_CUT, "the stream ended before the process");
    if (rc < 0)
        return rc;
    rc = process_event_parse(text, &process->bytes, &event, err);
    if (rc < 0)
        return rc;
    if (event.kind == PROCESS_EVENT_END) {
        process->ended = true;
        process->exit = event.exit;
        return 0;
    }
    return event.kind == PROCESS_EVENT_DATA && advance(process, &event, ret) ? 1 : NOTHING_NEW;
}

static int next(struct carrel_process *process, int64_t deadline_ns, struct carrel_output *ret,
                struct carrel_error *err)
{
    int rc = process->ended ? 0 : NOTHING_NEW;
    while (rc == NOTHING_NEW) {
        if (!process->stream || call_stream_over(process->stream))
            rc = -CARREL_CUT;
        else
            rc = read_one(process, deadline_ns, ret, err);
        /* Nothing was given yet: it can begin as it did. */
        bool can = process->counted || process->position == 0;
        if (rc == -CARREL_CUT && can && (rc = resume(process, deadline_ns, err)) == 0)
            rc = NOTHING_NEW;
        else if (rc == -CARREL_CUT)
            rc = call_explain_cut(process->sandbox, rc, err);
    }
    return rc;
}

int carrel_process_next(struct carrel_process *process, int64_t timeout_ms,
                        struct carrel_output *ret, struct carrel_error *err)
{
    int64_t deadline_ns = timeout_ms < 0 ? 0 : clock_mono_ns() + timeout_ms * CLOCK_MS;
    pthread_mutex_lock(&process->lock);
    int rc = next(process, deadline_ns, ret, err);
    pthread_mutex_unlock(&process->lock);
    return rc;
}

int carrel_process_wait(struct carrel_process *process, carrel_output_fn *on_output, void *arg,
                        struct carrel_exit *ret, struct carrel_error *err)
{
    struct carrel_output output;
    int rc;
    while ((rc = carrel_process_next(process, -1, &output, err)) == 1)
        if (on_output && on_output(arg, output.stream, output.bytes, output.len) != 0)
            return error_set(err, CARREL_CANCELED, "ended by the caller");
    return rc < 0 ? rc : carrel_process_exit(process, ret, err);
}

int carrel_process_exit(struct carrel_process *process, struct carrel_exit *ret,
                        struct carrel_error *err)
{
    pthread_mutex_lock(&process->lock);
    bool ended = process->ended;
    if (ended && ret)
        *ret = process->exit;
    pthread_mutex_unlock(&process->lock);
    return ended ? 0 : error_set(err, CARREL_CONFLICT, "the process has not ended");
}

/* ---- what goes to it ---- */

int carrel_process_write(struct carrel_process *process, const void *p, size_t n,
                         const struct carrel_call *call, struct carrel_error *err)
{
    return process_input_write(process->sandbox, process->pid, process->terminal, p, n, call, err);
}

int carrel_process_close_stdin(struct carrel_process *process, const struct carrel_call *call,
                               struct carrel_error *err)
{
    return process_input_close(process->sandbox, process->pid, call, err);
}

int carrel_process_resize(struct carrel_process *process, unsigned columns, unsigned rows,
                          const struct carrel_call *call, struct carrel_error *err)
{
    int rc = process_input_resize(process->sandbox, process->pid, columns, rows, call, err);
    if (rc == 0)
        process->terminal = true; /* no other process has a size */
    return rc;
}

int carrel_process_signal(struct carrel_process *process, int number, bool group,
                          const struct carrel_call *call, struct carrel_error *err)
{
    return carrel_sandbox_signal(process->sandbox, process->pid, number, group, call, err);
}
