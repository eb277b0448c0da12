/* SPDX-License-Identifier: Apache-2.0 */
/* TLS: the name in the ClientHello decides, then bytes pass as they are. Nothing is decrypted: that a
 * server of an allowed name serves others under it (HTTP's Host may say anything inside) is that
 * server's doing, and cannot be seen from here. */
#include <errno.h>

#include "base/mem.h"
#include "egress/client_hello.h"
#include "egress/session-internal.h"
#include "http/loop.h"

static void decide(struct session *s)
{
    char name[HOSTNAME_SIZE];
    enum hello verdict = hello_read(buf_ptr(&s->held), buf_len(&s->held), name);
    if (verdict == HELLO_MORE)
        return;
    stream_watch(s->client, false, false);
    switch (verdict) {
    case HELLO_NAMED:
        session_want(s, name);
        break;
    case HELLO_NAMELESS:
        session_refuse(s, STR(""), "no name in the TLS greeting");
        break;
    case HELLO_ENCRYPTED:
        session_refuse(s, STR(""), "encrypted TLS greeting: the name cannot be seen");
        break;
    case HELLO_TOO_LARGE:
        session_refuse(s, STR(""), "TLS greeting too large");
        break;
    case HELLO_MALFORMED:
    case HELLO_MORE:
        session_refuse(s, STR(""), "not TLS");
        break;
    }
}

static void on_client(struct stream *stream, bool readable, bool writable, void *arg)
{
    struct session *s = arg;
    size_t size;
    char *scratch = http_loop_scratch(&s->egress->loop, &size);
    size_t room = HELLO_STREAM_MAX - buf_len(&s->held);
    ssize_t n = stream_read(stream, scratch, size < room ? size : room);
    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        session_cut(s);
        return;
    }
    if (buf_append(&s->held, scratch, (size_t)n) < 0) {
        session_cut(s);
        return;
    }
    decide(s);
    /* Full without a verdict cannot be: the limits of a greeting are below it. */
    if (s->state == SESSION_READING && buf_len(&s->held) == HELLO_STREAM_MAX)
        session_cut(s);
}

void tls_session_begin(struct session *s)
{
    buf_init(&s->held, HELLO_STREAM_MAX);
    stream_set_owner(s->client, on_client, s);
    stream_watch(s->client, true, false);
}

void tls_session_connected(struct session *s)
{
    struct buf nothing = {0};
    session_relay(s, &nothing);
}

void tls_session_refuse(struct session *s, const char *why)
{
    /* A fatal alert, access_denied: clients name it in what they say of the failure. */
    static const char alert[] = {21, 3, 3, 0, 2, 2, 49};
    struct iovec part = {(void *)(uintptr_t)alert, sizeof alert};
    stream_write(s->client, &part, 1);
}
