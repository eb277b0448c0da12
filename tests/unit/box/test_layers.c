/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/mem.h"
#include "box/ns/layers.h"

static const struct layers_info sample = {
    .base = "s1", .template_name = "base", .rootfs = "1.2.3", .whole = false, .bytes = 4096};

static void print(struct buf *text)
{
    buf_init(text, LAYERS_INFO_MAX);
    assert_true(layers_info_print(&sample, text) >= 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct buf text;
    struct layers_info info;
    print(&text);
    assert_int_equal(layers_info_parse(buf_str(&text), &info), 0);
    assert_string_equal(info.base, sample.base);
    assert_string_equal(info.template_name, sample.template_name);
    assert_string_equal(info.rootfs, sample.rootfs);
    assert_int_equal(info.bytes, sample.bytes);
    assert_false(info.whole);
    /* Cut anywhere, it is none. */
    for (size_t n = 0; n < buf_len(&text); n++)
        assert_int_equal(layers_info_parse((struct str){buf_ptr(&text), n}, &info), -EINVAL);
    buf_done(&text);
}

static void test_hostile(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "version=2\nbase=\ntemplate=b\nrootfs=\nwhole=0\nbytes=0\n",
        "version=1\nbase=../x\ntemplate=b\nrootfs=\nwhole=0\nbytes=0\n",
        "version=1\nbase=\ntemplate=../b\nrootfs=\nwhole=0\nbytes=0\n",
        "version=1\nbase=\ntemplate=b\nrootfs=\nwhole=2\nbytes=0\n",
        "version=1\nbase=\ntemplate=b\nrootfs=\nwhole=0\nbytes=-1\n",
        "version=1\nbase=\ntemplate=b\nrootfs=\nwhole=0\nbytes=0\nbytes=0\n",
        "version=1\nbase=\ntemplate=b\nrootfs=\nwhole=0\nbytes=0\nmore=0\n",
        "version=1\nbase=\ntemplate=b\nwhole=0\nbytes=0\n",
    };
    struct layers_info info;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (layers_info_parse(str_from(bad[i]), &info) != -EINVAL)
            fail_msg("accepted:\n%s", bad[i]);
}

static struct snapshot *add(struct layers *layers, const char *id, const char *base, bool whole)
{
    struct snapshot *s = xcalloc(1, sizeof *s);
    *s = (struct snapshot){.info = {.template_name = "base", .whole = whole, .bytes = 10}};
    memcpy(s->id, id, strlen(id));
    memcpy(s->info.base, base, strlen(base));
    LIST_INSERT_HEAD(&layers->all, s, link);
    return s;
}

static void test_chain(void **state)
{
    (void)state;
    struct layers layers = {.dir = -1};
    struct box_chain chain;
    struct err err;
    LIST_INIT(&layers.all);
    add(&layers, "a", "", false);
    add(&layers, "b", "a", false)->doomed = true;
    add(&layers, "c", "b", false);
    add(&layers, "w", "", true);
    add(&layers, "lost", "gone", false);
    add(&layers, "loop", "loop", false);
    assert_int_equal(layers_chain(&layers, "", &chain, &err), 0);
    assert_int_equal(chain.count, 0);
    assert_int_equal(layers_chain(&layers, "c", &chain, &err), 0);
    assert_int_equal(chain.count, 3);
    assert_string_equal(chain.ids[0], "c");
    assert_string_equal(chain.ids[2], "a");
    assert_false(chain.whole);
    assert_int_equal(layers_bytes(&layers, "c"), 30);
    assert_int_equal(layers_chain(&layers, "w", &chain, &err), 0);
    assert_true(chain.whole);
    assert_true(layers_chain(&layers, "lost", &chain, &err) < 0);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_true(layers_chain(&layers, "loop", &chain, &err) < 0);
    assert_true(layers_is_base(&layers, "b") && !layers_is_base(&layers, "c"));
    layers_close(&layers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
