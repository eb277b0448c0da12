/* SPDX-License-Identifier: Apache-2.0 */
/* PUT /sandboxes/{id}/network (protocol.md 2.2, 2.4): the whole of what a sandbox may reach, anew. */
#include "server/api.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/field.h"
#include "server/launcher_link.h"
#include "server/event.h"
#include "server/network.h"
#include "server/sandbox_list.h"
#include "server/sandbox_record.h"
#include "server/server.h"

#define NETWORK_TIMEOUT (20 * CLOCK_S)

/* Asked of the launcher. Lives until that has answered: client and sandbox may go before. */
struct api_change {
    struct server *server;
    struct api_request *request; /* NULL: the client has gone */
    char id[ROUTE_ID_MAX + 1];
    json_t *network;
    bool allow_internet;
};

static void change_free(struct api_change *change)
{
    if (change->request)
        change->request->change = NULL;
    json_decref(change->network);
    free(change);
}

void api_network_forget(struct api_request *r)
{
    if (r->change)
        r->change->request = NULL;
}

/* What is not about the way out stays as it was; what is, and was not given, is cleared. */
static json_t *merged(const struct sandbox *sb, const json_t *body)
{
    static const char *const kept[] = {"allowPublicTraffic", "maskRequestHost"};
    static const char *const given[] = {"allowOut", "denyOut"};
    json_t *network = json_object();
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        json_object_set(network, kept[i], json_object_get(sb->network, kept[i]));
    for (size_t i = 0; i < ARRAY_SIZE(given); i++)
        if (json_array_size(json_object_get(body, given[i])) > 0)
            json_object_set(network, given[i], json_object_get(body, given[i]));
    return network;
}

static int commit(struct api_change *change, struct err *err)
{
    struct sandbox *sb = sandbox_list_find(change->server->sandboxes, change->id);
    if (!sb || !sandbox_visible(sb))
        return err_set(err, ERR_NOT_FOUND, 0,
                       "Sandbox \"%s\" doesn't exist or you don't have access to it", change->id);
    sandbox_record_set_network(sb, TAKE_PTR(change->network));
    sb->allow_internet = change->allow_internet;
    event_add(sb, EVENT_INFO, "network changed", NULL);
    return sandbox_record_save(sb, err);
}

static void on_changed(const struct launcher_reply *reply, void *arg)
{
    struct api_change *change = arg;
    struct api_request *r = change->request;
    struct err err = {0};
    if (reply->code != ERR_OK)
        err_set(&err, reply->code, reply->os, "changing the network: %s", reply->message);
    else
        commit(change, &err);
    if (err.code != ERR_OK)
        log_error("network not changed", "id=%s error=\"%s\"", change->id, err.message);
    if (r && err.code != ERR_OK)
        api_reply_launcher_err(r, &err);
    else if (r)
        api_reply_empty(r, 204);
    change_free(change);
}

void api_sandbox_network(struct api_request *r)
{
    struct sandbox *sb = api_find_sandbox(r, false);
    _cleanup_free_ struct network *network = xmalloc(sizeof *network);
    bool allow_internet = true;
    struct err err;
    if (!sb)
        return;
    if (field_bool(r->body, "allow_internet_access", &allow_internet, &err) < 0 ||
        network_from_json(r->body, "", allow_internet, network, &err) < 0) {
        api_reply_err(r, &err);
        return;
    }
    if (sb->state != SANDBOX_RUNNING) {
        api_reply_error(r, 409, "Sandbox \"%s\" is not running", sb->id);
        return;
    }
    struct api_change *change = xcalloc(1, sizeof *change);
    change->server = r->server;
    change->request = r;
    memcpy(change->id, sb->id, sizeof change->id);
    change->network = merged(sb, r->body);
    change->allow_internet = allow_internet;
    r->change = change;
    struct launcher_request request = {.op = LAUNCHER_NETWORK,
                                       .network_len = (uint32_t)network->len};
    memcpy(request.id, sb->id, sizeof request.id);
    launcher_link_call(r->server->link, &request, (struct str){network->bytes, network->len},
                       NETWORK_TIMEOUT, on_changed, change);
}
