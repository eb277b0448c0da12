/* SPDX-License-Identifier: Apache-2.0 */
/* What is written to a process: to the pipe of its standard input, or to its terminal. */
#include "agent/process-internal.h"

#include <errno.h>
#include <unistd.h>

#include "agent/keep.h"
#include "base/mem.h"

static void finish(struct process_queued *item, int status)
{
    item->done(status, item->arg);
    free(item->bytes);
    free(item);
}

static struct process_queued *take_first(struct process *p)
{
    struct process_queued *item = p->queue;
    p->queue = item->next;
    if (!p->queue)
        p->queue_tail = &p->queue;
    p->queue_bytes -= item->len;
    p->table->input_bytes -= item->len;
    return item;
}

void process_input_fail(struct process *p, int status)
{
    process_channel_close(&p->in);
    while (p->queue)
        finish(take_first(p), status);
}

/* Closes it here and where it is kept, so that the process reads an end. */
static void let_go(struct process *p)
{
    if (p->in.fd >= 0 && !p->pty)
        keep_drop(p->table->keep, p->slot, 1U << KEEP_IN);
    process_channel_close(&p->in);
}

static void write_queue(struct process *p);

static void input_ready(uv_poll_t *poll, int status, int events)
{
    write_queue(poll->data);
}

static void write_queue(struct process *p)
{
    while (p->queue) {
        struct process_queued *item = p->queue;
        ssize_t n = 0;
        if (item->len > item->written)
            n = write(p->in.fd, item->bytes + item->written, item->len - item->written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            if (!uv_is_active((uv_handle_t *)&p->in.poll))
                uv_poll_start(&p->in.poll, UV_WRITABLE, input_ready);
            return;
        }
        if (n < 0) { /* EPIPE: the process has closed it */
            int os = errno;
            let_go(p);
            process_input_fail(p, -os);
            return;
        }
        item->written += (size_t)n;
        if (item->written == item->len)
            finish(take_first(p), 0);
    }
    if (p->in.fd < 0)
        return;
    uv_poll_stop(&p->in.poll);
    if (p->close_in)
        let_go(p);
}

int process_input(struct process *p, struct process_input_bytes *input, process_input_fn *done,
                  void *arg, struct err *err)
{
    _cleanup_free_ char *bytes = TAKE_PTR(input->bytes);
    if (input->pty != p->pty)
        return err_set(err, ERR_INTERNAL, 0,
                       p->pty ? "the process has a terminal: send 'pty', not 'stdin'"
                              : "the process has no terminal: send 'stdin', not 'pty'");
    if (p->in.fd < 0 || p->close_in)
        return err_set(err, ERR_INTERNAL, 0, "stdin not enabled or closed");
    if (input->len > PROCESS_INPUT_MAX - p->queue_bytes)
        return err_set(err, ERR_EXHAUSTED, 0, "more than %d bytes of input wait to be read",
                       PROCESS_INPUT_MAX);
    if (input->len > PROCESS_INPUTS_MAX - p->table->input_bytes)
        return err_set(err, ERR_EXHAUSTED, 0,
                       "more than %d bytes of input of all processes wait to be read",
                       PROCESS_INPUTS_MAX);
    struct process_queued *item = xmalloc(sizeof *item);
    *item = (struct process_queued){
        .bytes = TAKE_PTR(bytes), .len = input->len, .done = done, .arg = arg};
    *p->queue_tail = item;
    p->queue_tail = &item->next;
    p->queue_bytes += item->len;
    p->table->input_bytes += item->len;
    if (p->queue == item)
        write_queue(p);
    return 0;
}

int process_close_input(struct process *p, struct err *err)
{
    if (p->pty)
        return err_set(err, ERR_UNKNOWN, 0,
                       "a terminal's input cannot be closed: send the character Ctrl-D");
    p->close_in = true;
    if (!p->queue)
        let_go(p);
    return 0;
}
