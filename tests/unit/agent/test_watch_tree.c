/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"

static void note_gone(struct watch_node *node, void *arg)
{
    struct buf *out = arg;
    if (buf_len(out))
        buf_append_char(out, ' ');
    watch_node_path(node, out);
}

static struct watch_dir *add_dir(struct watch_tree *t, struct watch_dir *parent, const char *name)
{
    return watch_node_dir(watch_tree_add(t, parent, str_from(name), true));
}

static void names(void **state)
{
    (void)state;
    struct watch_tree t;
    struct buf path;
    buf_init(&path, 1000);
    watch_tree_init(&t);
    struct watch_dir *a = add_dir(&t, t.root, "a"), *b = add_dir(&t, a, "b");
    struct watch_node *f = watch_tree_add(&t, b, STR("file"), false);
    assert_ptr_equal(watch_tree_find(&t, b, STR("file")), f);
    assert_null(watch_tree_find(&t, a, STR("file")));
    assert_null(watch_tree_find(&t, b, STR("fil")));
    assert_string_equal(watch_node_name(f), "file");
    assert_int_equal(watch_node_path(&t.root->node, &path), 0);
    assert_int_equal(buf_len(&path), 0);
    watch_node_path(f, &path);
    assert_string_equal(buf_cstr(&path), "a/b/file");
    buf_clear(&path);
    watch_tree_remove(&t, &a->node, note_gone, &path);
    assert_string_equal(buf_cstr(&path), "a/b/file a/b a");
    assert_int_equal(t.name_count, 0);
    assert_null(watch_tree_find(&t, t.root, STR("a")));
    buf_done(&path);
    watch_tree_done(&t);
}

static void descriptors(void **state)
{
    (void)state;
    struct watch_tree t;
    watch_tree_init(&t);
    struct watch_dir *dirs[500];
    for (int i = 0; i < 500; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        dirs[i] = add_dir(&t, t.root, name);
        watch_tree_set_wd(&t, dirs[i], 1000 + i);
    }
    for (int i = 0; i < 500; i++)
        assert_ptr_equal(watch_tree_by_wd(&t, 1000 + i), dirs[i]);
    watch_tree_set_wd(&t, dirs[7], 7);
    assert_null(watch_tree_by_wd(&t, 1007));
    assert_ptr_equal(watch_tree_by_wd(&t, 7), dirs[7]);
    watch_tree_set_wd(&t, dirs[7], -1);
    assert_null(watch_tree_by_wd(&t, 7));
    assert_null(watch_tree_by_wd(&t, -1));
    assert_int_equal(t.wd_count, 499);
    watch_tree_done(&t);
}

static void many_and_deep(void **state)
{
    (void)state;
    struct watch_tree t;
    watch_tree_init(&t);
    struct watch_dir *at = t.root;
    for (int i = 0; i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        watch_tree_add(&t, at, str_from(name), false);
        at = add_dir(&t, at, "d");
    }
    assert_int_equal(t.name_count, 40000);
    at = t.root;
    for (int i = 0; i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        assert_non_null(watch_tree_find(&t, at, str_from(name)));
        at = watch_node_dir(watch_tree_find(&t, at, STR("d")));
    }
    watch_tree_done(&t); /* no recursion */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(descriptors),
        cmocka_unit_test(many_and_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
