/* SPDX-License-Identifier: Apache-2.0 */
/* template: references and manifests. */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "server/template.h"

static void references(void **state)
{
    static const char *const good[][2] = {
        {"base", "base"},
        {" Base ", "base"},
        {"base:default", "base"},
        {"team/base", "base"},
        {"code-interpreter-v1", "code-interpreter-v1"},
        {"a/my_t.1", "my_t.1"},
    };
    static const char *const bad[] = {"",        " ",     ":",  "a b", "../etc", "a/..",
                                      ".hidden", "a/b/c", "/a", "a/",  "ä",      "base\n"};
    char name[TEMPLATE_NAME_MAX + 1], longer[200];
    struct err err;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(template_parse_reference(str_from(good[i][0]), name, &err), 0);
        assert_string_equal(name, good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (template_parse_reference(str_from(bad[i]), name, &err) != -EINVAL)
            fail_msg("accepted: \"%s\"", bad[i]);
    memset(longer, 'a', sizeof longer);
    assert_int_equal(template_parse_reference((struct str){longer, 64}, name, &err), -EINVAL);
    assert_int_equal(template_parse_reference((struct str){longer, 63}, name, &err), 0);
    assert_int_equal(template_parse_reference(STR("base:v2"), name, &err), -ENOENT);
    assert_string_equal(err.message, "tag 'v2' does not exist for template 'base'");
}

static int load(const char *directory, const char *manifest, struct template *t, struct err *err)
{
    char *path = xasprintf("%s/base/manifest.json", directory);
    assert_int_equal(fd_replace_file(AT_FDCWD, path, manifest, strlen(manifest), 0644), 0);
    free(path);
    return template_load(directory, "base", t, err);
}

static void count(const struct template *t, void *arg)
{
    ++*(int *)arg;
}

static void manifests(void **state)
{
    char *directory = unit_directory(), *base = xasprintf("%s/base", directory);
    struct template t;
    struct err err;
    int found = 0;
    char first[TEMPLATE_BUILD_ID_SIZE];
    assert_int_equal(template_load(directory, "base", &t, &err), -ENOENT);
    assert_string_equal(err.message, "template 'base' not found");
    assert_int_equal(mkdir(base, 0755), 0);

    assert_int_equal(load(directory,
                          "{\"name\":\"base\",\"defaultUser\":\"user\",\"envs\":{\"A\":\"b\"},"
                          "\"memoryMB\":512,\"builtAt\":\"1970-01-01T00:00:01Z\"}",
                          &t, &err),
                     0);
    assert_string_equal(t.default_user, "user");
    assert_null(t.default_workdir);
    assert_string_equal(json_string_value(json_object_get(t.envs, "A")), "b");
    assert_int_equal(t.memory_mb, 512);
    assert_int_equal(t.built, 1000000000);
    memcpy(first, t.build_id, sizeof first);
    assert_true(first[8] == '-' && first[14] == '8' && strlen(first) == 36);
    template_done(&t);

    assert_int_equal(load(directory, "{}", &t, &err), 0);
    assert_string_not_equal(t.build_id, first);
    template_done(&t);
    template_each(directory, count, &found);
    assert_int_equal(found, 1);

    assert_true(load(directory, "{\"envs\":{\"A\":1}}", &t, &err) < 0);
    assert_non_null(strstr(err.message, "template 'base': manifest.json: \"envs\""));
    assert_true(load(directory, "not json", &t, &err) < 0);
    unit_remove(base, (const char *const[]){"manifest.json", NULL});
    unit_remove(directory, (const char *const[]){NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references),
        cmocka_unit_test(manifests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
