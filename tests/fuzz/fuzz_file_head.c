/* SPDX-License-Identifier: Apache-2.0 */
/* What a download reads of a request's head: ranges, codings, conditions, dates; and file names in
 * answers. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json_text.h"
#include "base/utf8.h"
#include "http/accept.h"
#include "http/conditional.h"
#include "http/content_type.h"
#include "http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    int64_t first = 0, length = 0, seconds;
    int64_t file = size ? (int64_t)data[0] << (data[0] % 50u) : 0;
    if (http_range_parse(text, file, &first, &length) == HTTP_RANGE_PART)
        assert(first >= 0 && length > 0 && first <= file - length);
    static const char *const names[] = {"Accept-Encoding",   "If-Match",
                                        "If-None-Match",     "If-Range",
                                        "If-Modified-Since", "If-Unmodified-Since"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct http_header field = {str_from(names[i]), text};
        struct http_headers headers = {&field, 1};
        http_accept_coding(&headers);
        http_conditional_range(&headers, "\"a\"", 0);
        int status = http_conditional_status(&headers, "\"a\"", 0);
        assert(status == 200 || status == 304 || status == 412);
    }
    if (http_date_parse(text, &seconds) == 0) {
        char back[HTTP_DATE_SIZE];
        http_date_format(seconds, back);
    }
    content_type_by_name(text);
    assert(content_type_by_content(text));
    struct buf out;
    buf_init(&out, 1 << 20);
    if (json_text_append(&out, text) == 0)
        assert(utf8_valid(buf_str(&out)));
    buf_done(&out);
    return 0;
}
