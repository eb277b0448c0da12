/* SPDX-License-Identifier: Apache-2.0 */
/* Jupyter's messages between two sockets of one process, and the signature they carry. */
#include "interpreter/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <zmq.h>

#include "base/mem.h"
#include "interpreter/digest.h"

/* RFC 4231, test cases 2 and 6 */
static void signatures_are_hmac_sha256(void **state)
{
    char hex[DIGEST_HEX_SIZE], key[131];
    digest_hmac_hex(STR("Jefe"), STR("what do ya want for nothing?"), hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    digest_hmac_hex((struct str){key, sizeof key},
                    STR("Test Using Larger Than Block-Size Key - Hash Key First"), hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

struct pair {
    void *context, *a, *b;
};

static void pair_open(struct pair *p)
{
    p->context = zmq_ctx_new();
    p->a = zmq_socket(p->context, ZMQ_PAIR);
    p->b = zmq_socket(p->context, ZMQ_PAIR);
    assert_int_equal(zmq_bind(p->a, "inproc://pair"), 0);
    assert_int_equal(zmq_connect(p->b, "inproc://pair"), 0);
}

static void pair_close(struct pair *p)
{
    zmq_close(p->a);
    zmq_close(p->b);
    zmq_ctx_term(p->context);
}

static void what_is_sent_is_received(void **state)
{
    struct pair p;
    struct wire_session s;
    struct wire_message m;
    char id[WIRE_ID_SIZE];
    pair_open(&p);
    wire_session_init(&s);
    assert_int_equal(wire_receive(p.b, &s, &m), 0);
    assert_int_equal(
        wire_send(p.a, &s, "execute_request", NULL, json_pack("{s:s}", "code", "ü"), id), 0);
    assert_int_equal(wire_receive(p.b, &s, &m), 1);
    assert_string_equal(wire_type(&m), "execute_request");
    assert_string_equal(json_string_value(json_object_get(m.header, "msg_id")), id);
    assert_string_equal(json_string_value(json_object_get(m.content, "code")), "ü");
    assert_false(wire_answers(&m, id));
    wire_message_done(&m);
    pair_close(&p);
}

static void send_parts(void *socket, const char *const *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        zmq_send(socket, parts[i], strlen(parts[i]), i + 1 < count ? ZMQ_SNDMORE : 0);
}

static void strangers_are_refused(void **state)
{
    static const char *const none[] = {"hello"};
    static const char *const few[] = {"id", "<IDS|MSG>", "", "{}", "{}", "{}"};
    static const char *const unsigned_[] = {"<IDS|MSG>", "", "{}", "{}", "{}", "{}"};
    struct pair p;
    struct wire_session mine, other;
    struct wire_message m;
    char id[WIRE_ID_SIZE];
    pair_open(&p);
    wire_session_init(&mine);
    wire_session_init(&other);
    send_parts(p.a, none, ARRAY_SIZE(none));
    send_parts(p.a, few, ARRAY_SIZE(few));
    send_parts(p.a, unsigned_, ARRAY_SIZE(unsigned_));
    wire_send(p.a, &other, "status", NULL, json_object(), id);
    for (int i = 0; i < 4; i++)
        assert_int_equal(wire_receive(p.b, &mine, &m), -EBADMSG);
    assert_int_equal(wire_receive(p.b, &mine, &m), 0);
    pair_close(&p);
}

/* The parts of a message that is signed as it should be. */
static void send_signed(void *socket, const struct wire_session *s, const char *const part[4])
{
    char all[256], signature[DIGEST_HEX_SIZE];
    snprintf(all, sizeof all, "%s%s%s%s", part[0], part[1], part[2], part[3]);
    digest_hmac_hex(str_from(s->key), str_from(all), signature);
    const char *const parts[] = {"topic",  "<IDS|MSG>", signature, part[0],
                                 part[1], part[2],     part[3],   "a buffer"};
    send_parts(socket, parts, ARRAY_SIZE(parts));
}

static void answers_are_told_and_nonsense_is_not(void **state)
{
    static const char *const good[] = {"{\"msg_type\":\"status\"}", "{\"msg_id\":\"abc\"}", "{}",
                                       "{\"execution_state\":\"idle\"}"};
    static const char *const bad[] = {"{}", "{}", "{}", "[]"};
    static const char *const worse[] = {"{", "{}", "{}", "{}"};
    struct pair p;
    struct wire_session s;
    struct wire_message m;
    pair_open(&p);
    wire_session_init(&s);
    send_signed(p.a, &s, good);
    send_signed(p.a, &s, bad);
    send_signed(p.a, &s, worse);
    assert_int_equal(wire_receive(p.b, &s, &m), 1);
    assert_true(wire_answers(&m, "abc"));
    assert_false(wire_answers(&m, "abd"));
    wire_message_done(&m);
    assert_int_equal(wire_receive(p.b, &s, &m), -EBADMSG);
    assert_int_equal(wire_receive(p.b, &s, &m), -EBADMSG);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_hmac_sha256),
        cmocka_unit_test(what_is_sent_is_received),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(answers_are_told_and_nonsense_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
