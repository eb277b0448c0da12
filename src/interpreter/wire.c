/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of Jupyter over ZeroMQ. */
#include "interpreter/wire.h"

#include <errno.h>
#include <zmq.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/utf8.h"
#include "interpreter/digest.h"

/* Parts behind the delimiter: signature, header, parent, metadata, content; then buffers. */
enum { SIGNED_PARTS = 4, PARTS_MAX = 16, MESSAGE_MAX = 512 << 20 };

static const char delimiter[] = "<IDS|MSG>";

void wire_session_init(struct wire_session *s)
{
    random_hex(s->id, WIRE_ID_SIZE - 1);
    random_hex(s->key, WIRE_KEY_SIZE - 1);
}

static void sign(const struct wire_session *s, const struct str part[SIGNED_PARTS],
                 char out[DIGEST_HEX_SIZE])
{
    struct buf all;
    buf_init(&all, MESSAGE_MAX);
    for (int i = 0; i < SIGNED_PARTS; i++)
        buf_append_str(&all, part[i]);
    digest_hmac_hex(str_from(s->key), buf_str(&all), out);
    buf_done(&all);
}

static json_t *make_header(const struct wire_session *s, const char *type, char id[WIRE_ID_SIZE])
{
    char now[CLOCK_TEXT_SIZE];
    clock_format(clock_wall_ns(), 6, now);
    random_hex(id, WIRE_ID_SIZE - 1);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "msg_id", id, "session", s->id, "username",
                     "carrel", "date", now, "msg_type", type, "version", "5.3");
}

int wire_send(void *socket, const struct wire_session *s, const char *type, json_t *metadata,
              json_t *content, char ret_id[WIRE_ID_SIZE])
{
    json_t *value[SIGNED_PARTS] = {make_header(s, type, ret_id), json_object(),
                                   metadata ? metadata : json_object(), content};
    char *text[SIGNED_PARTS];
    struct str part[SIGNED_PARTS];
    char signature[DIGEST_HEX_SIZE];
    int rc = 0;
    for (int i = 0; i < SIGNED_PARTS; i++) {
        text[i] = json_dumps(value[i], JSON_COMPACT);
        part[i] = str_from(text[i]);
        if (!text[i])
            rc = -EINVAL;
        json_decref(value[i]);
    }
    if (rc == 0) {
        sign(s, part, signature);
        int flags = ZMQ_SNDMORE | ZMQ_DONTWAIT;
        if (zmq_send(socket, delimiter, sizeof delimiter - 1, flags) < 0 ||
            zmq_send(socket, signature, DIGEST_HEX_SIZE - 1, flags) < 0)
            rc = -errno;
        for (int i = 0; i < SIGNED_PARTS && rc == 0; i++)
            if (zmq_send(socket, part[i].p, part[i].len,
                         i == SIGNED_PARTS - 1 ? ZMQ_DONTWAIT : flags) < 0)
                rc = -errno;
    }
    for (int i = 0; i < SIGNED_PARTS; i++)
        free(text[i]);
    return rc;
}

struct parts {
    zmq_msg_t message[PARTS_MAX];
    size_t count;
};

static void parts_done(struct parts *p)
{
    for (size_t i = 0; i < p->count; i++)
        zmq_msg_close(&p->message[i]);
}

static struct str part_text(struct parts *p, size_t i)
{
    return (struct str){zmq_msg_data(&p->message[i]), zmq_msg_size(&p->message[i])};
}

/* All parts of one message; those beyond PARTS_MAX are dropped. */
static int receive_parts(void *socket, struct parts *p)
{
    int more = 1;
    while (more) {
        zmq_msg_t m;
        zmq_msg_init(&m);
        /* The parts of a message arrive together: only the first may be missing. */
        if (zmq_msg_recv(&m, socket, ZMQ_DONTWAIT) < 0) {
            int os = errno;
            zmq_msg_close(&m);
            return os == EAGAIN && p->count == 0 ? 0 : -os;
        }
        more = zmq_msg_more(&m);
        if (p->count < PARTS_MAX)
            p->message[p->count++] = m;
        else
            zmq_msg_close(&m);
    }
    return 1;
}

/* A copy with a question mark for each byte that is no UTF-8. */
static char *repair(struct str text)
{
    char *copy = xstrndup(text.p, text.len);
    for (size_t i = 0, n; i < text.len; i += n ? n : 1)
        if ((n = utf8_char((struct str){text.p + i, text.len - i})) == 0)
            copy[i] = '?';
    return copy;
}

static json_t *parse_object(struct str text)
{
    json_t *value = json_loadb(text.p, text.len, JSON_ALLOW_NUL, NULL);
    if (!value && !utf8_valid(text)) { /* R passes on what a cell prints as it is */
        _cleanup_free_ char *repaired = repair(text);
        value = json_loadb(repaired, text.len, JSON_ALLOW_NUL, NULL);
    }
    if (json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

static int open_message(struct parts *p, const struct wire_session *s, struct wire_message *ret)
{
    char signature[DIGEST_HEX_SIZE];
    size_t at = 0;
    while (at < p->count && !str_eqz(part_text(p, at), delimiter))
        at++;
    if (at + 1 + SIGNED_PARTS >= p->count)
        return -EBADMSG;
    const struct str part[SIGNED_PARTS] = {part_text(p, at + 2), part_text(p, at + 3),
                                           part_text(p, at + 4), part_text(p, at + 5)};
    sign(s, part, signature);
    if (!str_eq_secret(part_text(p, at + 1), str_from(signature)))
        return -EBADMSG;
    *ret =
        (struct wire_message){parse_object(part[0]), parse_object(part[1]), parse_object(part[3])};
    if (ret->header && ret->parent && ret->content)
        return 1;
    wire_message_done(ret);
    return -EBADMSG;
}

int wire_receive(void *socket, const struct wire_session *s, struct wire_message *ret)
{
    struct parts parts = {.count = 0};
    int rc = receive_parts(socket, &parts);
    if (rc == 1)
        rc = open_message(&parts, s, ret);
    parts_done(&parts);
    return rc;
}

void wire_message_done(struct wire_message *m)
{
    json_decref(m->header);
    json_decref(m->parent);
    json_decref(m->content);
    *m = (struct wire_message){0};
}

const char *wire_type(const struct wire_message *m)
{
    const char *type = json_string_value(json_object_get(m->header, "msg_type"));
    return type ? type : "";
}

bool wire_answers(const struct wire_message *m, const char *id)
{
    const char *parent = json_string_value(json_object_get(m->parent, "msg_id"));
    return parent && strcmp(parent, id) == 0;
}
