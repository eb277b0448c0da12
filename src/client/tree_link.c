/* SPDX-License-Identifier: Apache-2.0 */
/* How a tar stream gets into a sandbox and out of it: docs/wire.md, "Directories as tar". */
#include "client/tree_link.h"

#include "base/mem.h"
#include "client/call.h"
#include "client/file.h"

static int run(struct carrel_sandbox *sandbox, struct exchange *x, const char *method,
               const char *path, struct carrel_error *err)
{
    exchange_to_sandbox(x, sandbox, CLIENT_AGENT_PORT);
    int rc = exchange_start(x, method, path, err);
    if (rc == 0)
        rc = exchange_run(x, err);
    exchange_end(x);
    return rc == -CARREL_CUT ? call_explain_cut(sandbox, rc, err) : rc;
}

int tree_link_send(struct carrel_sandbox *sandbox, const char *to, carrel_source_fn *source,
                   void *arg, const struct carrel_call *call, struct carrel_error *err)
{
    _cleanup_free_ char *path = file_target("/files/tar", to, call);
    struct exchange x;
    exchange_begin(&x, sandbox->client, call);
    exchange_source(&x, "application/x-tar", source, arg, -1);
    return run(sandbox, &x, "POST", path, err);
}

int tree_link_receive(struct carrel_sandbox *sandbox, const char *from, carrel_sink_fn *sink,
                      void *arg, const struct carrel_call *call, struct carrel_error *err)
{
    _cleanup_free_ char *path = file_target("/files/tar", from, call);
    struct exchange x;
    exchange_begin(&x, sandbox->client, call);
    x.sink = sink;
    x.arg = arg;
    return run(sandbox, &x, "GET", path, err);
}
