/* SPDX-License-Identifier: Apache-2.0 */
/* openapi.json says what api.c serves: no more, no less, and nothing refers to nowhere. */
#include "unit.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>

#include "server/api.h"
#include "server/openapi.h"

static json_t *document(void)
{
    json_error_t error;
    json_t *doc = json_loadb(openapi_text, (size_t)(openapi_text_end - openapi_text),
                             JSON_REJECT_DUPLICATES, &error);
    if (!doc)
        print_message("line %d: %s\n", error.line, error.text);
    assert_non_null(doc);
    return doc;
}

/* "/sandboxes/{sandboxID}" as the routes have it: "/sandboxes/{}". */
static void plain(const char *path, char out[256])
{
    bool inside = false;
    size_t n = 0;
    for (; *path; path++) {
        if (*path == '}')
            inside = false;
        if (!inside)
            out[n++] = *path;
        if (*path == '{')
            inside = true;
    }
    out[n] = '\0';
}

static bool documented(json_t *doc, const char *method, const char *path)
{
    const char *key;
    json_t *item;
    char small[16] = "", name[256];
    for (size_t i = 0; method[i]; i++)
        small[i] = (char)tolower((unsigned char)method[i]);
    json_object_foreach (json_object_get(doc, "paths"), key, item) {
        plain(key, name);
        if (strcmp(name, path) == 0 && json_object_get(item, small))
            return true;
    }
    return false;
}

static void all_that_is_served_is_said(void **state)
{
    json_t *doc = document();
    const char *method, *path;
    for (size_t i = 0; (method = api_route_text(i, &path)); i++) {
        if (!documented(doc, method, path))
            print_message("%s %s is missing\n", method, path);
        assert_true(documented(doc, method, path));
    }
    json_decref(doc);
}

static bool served(const char *method, const char *path)
{
    const char *one, *where;
    for (size_t i = 0; (one = api_route_text(i, &where)); i++)
        if (strcasecmp(one, method) == 0 && strcmp(where, path) == 0)
            return true;
    return false;
}

static void all_that_is_said_is_served(void **state)
{
    json_t *doc = document(), *item, *operation, *ids = json_object();
    const char *path, *method;
    char name[256];
    json_object_foreach (json_object_get(doc, "paths"), path, item) {
        plain(path, name);
        json_object_foreach (item, method, operation) {
            if (!served(method, name))
                print_message("%s %s is not served\n", method, name);
            assert_true(served(method, name));
            const char *id = json_string_value(json_object_get(operation, "operationId"));
            assert_non_null(id);
            assert_null(json_object_get(ids, id));
            json_object_set_new(ids, id, json_true());
        }
    }
    json_decref(ids);
    json_decref(doc);
}

static void follow(json_t *doc, const char *reference)
{
    char copy[256], *rest = copy;
    json_t *at = doc;
    assert_memory_equal(reference, "#/", 2);
    (void)snprintf(copy, sizeof copy, "%s", reference + 2);
    for (char *part; (part = strsep(&rest, "/"));)
        at = json_object_get(at, part);
    if (!at)
        print_message("%s leads nowhere\n", reference);
    assert_non_null(at);
}

static void walk(json_t *doc, json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    json_object_foreach (value, key, member) {
        if (strcmp(key, "$ref") == 0)
            follow(doc, json_string_value(member));
        walk(doc, member);
    }
    json_array_foreach (value, i, member)
        walk(doc, member);
}

static void references_lead_somewhere(void **state)
{
    json_t *doc = document();
    walk(doc, doc);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_served_is_said),
        cmocka_unit_test(all_that_is_said_is_served),
        cmocka_unit_test(references_lead_somewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
