/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of a kernel's output pipes. */
#include "interpreter/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/utf8.h"

enum {
    CARRY_MAX = 4,
    CHUNK = 64 << 10,
    DRAIN_MOST = 4 << 20, /* of one pipe in one go: who writes without end must not hold us */
};

struct outlet {
    uv_poll_t poll;
    outlet_fn *text;
    void *arg;
    int fd;
    bool paused, ended;
    char bytes[CARRY_MAX + CHUNK]; /* what is left of a character, then what is read */
    size_t carry;
};

/* False when the pipe is empty. */
static bool read_some(struct outlet *o)
{
    ssize_t n = read(o->fd, o->bytes + o->carry, CHUNK);
    if (n < 0)
        return errno == EINTR;
    size_t len = o->carry + (size_t)n;
    struct str all = {o->bytes, len};
    if (n == 0) {
        o->ended = true;
        uv_poll_stop(&o->poll);
    }
    size_t whole = n == 0 ? len : utf8_whole(all);
    if (len - whole > CARRY_MAX)
        whole = len;
    if (whole && o->text)
        o->text((struct str){o->bytes, whole}, o->arg);
    o->carry = len - whole;
    memmove(o->bytes, o->bytes + whole, o->carry);
    return n > 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct outlet *o = poll->data;
    if (!o->paused)
        read_some(o);
}

int outlet_open(uv_loop_t *loop, outlet_fn *text, void *arg, struct outlet **ret, int *ret_write)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    struct outlet *o = xmalloc(sizeof *o);
    o->text = text;
    o->arg = arg;
    o->fd = ends[0];
    o->paused = o->ended = false;
    o->carry = 0;
    o->poll.data = o;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    int rc = uv_poll_init(loop, &o->poll, ends[0]);
    if (rc < 0) {
        close(ends[0]);
        close(ends[1]);
        free(o);
        return rc;
    }
    uv_poll_start(&o->poll, UV_READABLE, on_readable);
    *ret = o;
    *ret_write = ends[1];
    return 0;
}

void outlet_drain(struct outlet *o)
{
    for (size_t i = 0; o && i < DRAIN_MOST / CHUNK && !o->ended && read_some(o);)
        i++;
}

void outlet_pause(struct outlet *o, bool pause)
{
    if (!o || o->paused == pause || o->ended)
        return;
    o->paused = pause;
    if (pause)
        uv_poll_stop(&o->poll);
    else
        uv_poll_start(&o->poll, UV_READABLE, on_readable);
}

static void closed(uv_handle_t *handle)
{
    struct outlet *o = handle->data;
    close(o->fd);
    free(o);
}

void outlet_close(struct outlet *o)
{
    if (!o)
        return;
    o->text = NULL;
    o->ended = true;
    uv_close((uv_handle_t *)&o->poll, closed);
}
