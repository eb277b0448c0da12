/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 connection: frames in and out, and when it ends. */
#include "http/h2.h"

#include <errno.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/h2-internal.h"

enum {
    STREAMS_MAX = 128,           /* at once */
    STREAM_WINDOW = 1024 * 1024, /* of a request's body that is held unread */
    CONNECTION_WINDOW = 4 << 20, /* of all of them */
    OUT_MAX = 256 * 1024,        /* of frames held */
    CANCELLED_MAX = 200,         /* see on_stream_close */
    FIRST_WINDOW = 65535,        /* RFC 9113, 6.9.2 */
};

static void settle(struct h2 *h2);

static void run_task(struct http_task *task)
{
    settle(CONTAINER_OF(task, struct h2, task));
}

void h2_wake(struct h2 *h2)
{
    if (!h2->closing)
        http_loop_defer(h2->server->loop, &h2->task);
}

/* ---- end ---- */

static void free_if_over(struct h2 *h2)
{
    if (!h2->closing || h2->streams || h2->transport || h2->session)
        return;
    buf_done(&h2->out);
    free(h2);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct h2 *h2 = handle->data;
    server_guest_gone(h2->server, &h2->guest);
    nghttp2_session_del(TAKE_PTR(h2->session));
    free_if_over(h2);
}

void h2_stream_freed(struct h2 *h2)
{
    h2->streams--;
    if (h2->closing)
        free_if_over(h2);
    else
        h2_wake(h2);
}

static void forget(struct h2 *h2, struct h2_stream *s)
{
    TAILQ_REMOVE(&h2->open, s, link);
    nghttp2_session_set_stream_user_data(h2->session, s->id, NULL);
}

static void h2_close(struct h2 *h2)
{
    if (h2->closing)
        return;
    h2->closing = true;
    http_loop_cancel(h2->server->loop, &h2->task);
    struct h2_stream *s;
    while ((s = TAILQ_FIRST(&h2->open))) {
        forget(h2, s);
        h2_stream_gone(s);
    }
    stream_close(TAKE_PTR(h2->transport));
    uv_close((uv_handle_t *)&h2->timer, on_timer_closed);
}

static void close_guest(struct http_guest *guest)
{
    h2_close(CONTAINER_OF(guest, struct h2, guest));
}

static void stop_guest(struct http_guest *guest)
{
    struct h2 *h2 = CONTAINER_OF(guest, struct h2, guest);
    int32_t last = nghttp2_session_get_last_proc_stream_id(h2->session);
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
    h2_wake(h2);
}

/* ---- rest ---- */

static void on_timeout(uv_timer_t *timer)
{
    struct h2 *h2 = timer->data;
    if (h2->streams == 0)
        h2_close(h2);
}

static void start_timer(struct h2 *h2, int64_t ns)
{
    if (ns > 0)
        uv_timer_start(&h2->timer, on_timeout, (uint64_t)(ns / 1000000) + 1, 0);
}

/* ---- what nghttp2 tells ---- */

static struct h2_stream *stream_at(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2 *h2 = arg;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_stream *s = h2_stream_new(h2, frame->hd.stream_id);
    TAILQ_INSERT_TAIL(&h2->open, s, link);
    h2->streams++;
    uv_timer_stop(&h2->timer);
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct h2_stream *s = stream_at(session, frame->hd.stream_id);
    if (!s || frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers */
    return h2_stream_field(s, (struct str){(const char *)name, name_len},
                           (struct str){(const char *)value, value_len});
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_stream *s = stream_at(session, frame->hd.stream_id);
    if (!s || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        h2_stream_begin(s, ended);
    else if (ended)
        h2_stream_body_ended(s);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *arg)
{
    struct h2_stream *s = stream_at(session, id);
    if (s)
        h2_stream_data(s, p, n);
    else
        nghttp2_session_consume_connection(session, n);
    return 0;
}

/* Requests that are made only to be taken back cost us more than the client (CVE-2023-44487). */
static void count_cancelled(struct h2 *h2, const struct h2_stream *s)
{
    if (s->response_ended)
        h2->cancelled -= h2->cancelled > 0;
    else if (++h2->cancelled > CANCELLED_MAX)
        nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct h2_stream *s = stream_at(session, id);
    if (!s)
        return 0;
    count_cancelled(arg, s);
    forget(arg, s);
    h2_stream_gone(s);
    return 0;
}

/* ---- frames ---- */

/* Takes frames from nghttp2 and gives them to the transport as far as it takes them. */
static int send_frames(struct h2 *h2)
{
    for (;;) {
        while (buf_len(&h2->out) < OUT_MAX) {
            const uint8_t *frame;
            ssize_t n = nghttp2_session_mem_send(h2->session, &frame);
            if (n < 0)
                return -EPROTO;
            if (n == 0)
                break;
            buf_append(&h2->out, frame, (size_t)n);
        }
        if (buf_len(&h2->out) == 0)
            return 0;
        struct iovec part = {(void *)(uintptr_t)buf_ptr(&h2->out), buf_len(&h2->out)};
        ssize_t sent = stream_write(h2->transport, &part, 1);
        if (sent == -EAGAIN)
            return 0;
        if (sent < 0)
            return (int)sent;
        buf_consume(&h2->out, (size_t)sent);
    }
}

static void settle(struct h2 *h2)
{
    if (send_frames(h2) < 0) {
        h2_close(h2);
        return;
    }
    bool held = buf_len(&h2->out) > 0;
    if (!held && h2->out.capacity)
        buf_done(&h2->out);
    bool wants_read = nghttp2_session_want_read(h2->session);
    if (!held && !wants_read && !nghttp2_session_want_write(h2->session)) {
        h2_close(h2);
        return;
    }
    if (h2->streams == 0 && !uv_is_active((uv_handle_t *)&h2->timer))
        start_timer(h2, h2->server->options.idle_ns);
    /* Answers to what the client sends (PING, SETTINGS) must not pile up. */
    stream_watch(h2->transport, wants_read && buf_len(&h2->out) < OUT_MAX, held);
}

static void read_some(struct h2 *h2)
{
    size_t size;
    char *scratch = http_loop_scratch(h2->server->loop, &size);
    ssize_t got = stream_read(h2->transport, scratch, size);
    if (got == -EAGAIN)
        return;
    if (got <= 0 || nghttp2_session_mem_recv(h2->session, (uint8_t *)scratch, (size_t)got) < 0) {
        if (got > 0)
            send_frames(h2); /* GOAWAY says why */
        h2_close(h2);
    }
}

static void on_ready(struct stream *transport, bool readable, bool writable, void *arg)
{
    struct h2 *h2 = arg;
    if (readable)
        read_some(h2);
    if (!h2->closing)
        settle(h2);
}

/* ---- begin ---- */

static void new_session(struct h2 *h2)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_BYTES_MAX},
    };
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option))
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    if (nghttp2_session_server_new2(&h2->session, callbacks, h2, option))
        abort();
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
    nghttp2_submit_window_update(h2->session, NGHTTP2_FLAG_NONE, 0,
                                 CONNECTION_WINDOW - FIRST_WINDOW);
}

void h2_open(struct http_server *server, struct stream *transport)
{
    struct h2 *h2 = xcalloc(1, sizeof *h2);
    h2->server = server;
    h2->transport = transport;
    h2->guest.stop = stop_guest;
    h2->guest.close = close_guest;
    h2->task.run = run_task;
    TAILQ_INIT(&h2->open);
    buf_init(&h2->out, SIZE_MAX / 4);
    uv_timer_init(server->loop, &h2->timer);
    h2->timer.data = h2;
    start_timer(h2, server->options.head_ns ? server->options.head_ns : server->options.idle_ns);
    new_session(h2);
    server_guest_new(server, &h2->guest);
    stream_set_owner(transport, on_ready, h2);
    h2_wake(h2);
}
