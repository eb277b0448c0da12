/* SPDX-License-Identifier: Apache-2.0 */
/* multipart/form-data: the first byte says in which pieces the rest is fed; however it is cut, the
 * same parts must come out. */
#include "http/multipart.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_part(struct str name, struct str filename, struct str type, void *arg)
{
    buf_append_str(arg, name);
    buf_append_str(arg, filename.p ? filename : STR("\1"));
    return buf_append_str(arg, type.p ? type : STR("\2"));
}

static int on_data(const char *p, size_t n, void *arg)
{
    return buf_append(arg, p, n);
}

static int on_end(void *arg)
{
    return buf_append_char(arg, '\3');
}

static int parse(struct str body, size_t step, struct buf *out)
{
    static const struct multipart_events events = {on_part, on_data, on_end};
    struct multipart *m;
    struct err err;
    int r = multipart_open(STR("multipart/form-data; boundary=B"), &events, out, &m, &err);
    assert(r == 0);
    for (size_t i = 0; r == 0 && i < body.len; i += step)
        r = multipart_feed(m, body.p + i, body.len - i < step ? body.len - i : step, &err);
    r = r ? r : multipart_finish(m, &err);
    multipart_free(m);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str body = {(const char *)data + 1, size - 1};
    struct buf whole, cut;
    buf_init(&whole, 1 << 20);
    buf_init(&cut, 1 << 20);
    int a = parse(body, body.len + 1, &whole), b = parse(body, data[0] % 16u + 1, &cut);
    assert(a == b);
    assert(a < 0 || str_eq(buf_str(&whole), buf_str(&cut)));
    buf_done(&whole);
    buf_done(&cut);
    struct multipart *m = NULL;
    static const struct multipart_events none;
    if (multipart_open(body, &none, NULL, &m, NULL) == 0)
        multipart_free(m);
    return 0;
}
