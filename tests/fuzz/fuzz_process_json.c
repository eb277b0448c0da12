/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of process.Process in JSON: the text, and every message it could be. */
#include "agent/process_message.h"
#include "fuzz.h"
#include "rpc/connect.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct process_start_request start;
    struct process_selector selector;
    struct process_input_bytes input = {0};
    struct process_size size;
    struct err err;
    json_t *in;
    bool group;
    int number;
    int64_t offset;
    if (rpc_decode((struct str){(const char *)p, n}, &in, &err) < 0)
        return 0;
    if (process_start_parse(in, &start, &err) >= 0) {
        FUZZ_CHECK(start.config.argc > 0 && !start.config.argv[start.config.argc]);
        process_start_done(&start);
    }
    process_selector_parse(in, &selector, &err);
    if (process_input_parse(in, &input, &err) >= 0)
        free(input.bytes);
    process_size_parse(in, &size, &err);
    process_signal_parse(in, &number, &group, &err);
    process_offset_parse(in, &offset, &err);
    json_decref(in);
    return 0;
}
