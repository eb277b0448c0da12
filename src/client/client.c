/* SPDX-License-Identifier: Apache-2.0 */
/* The client: whose server, which key, and where these are found when nobody says. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "client/call.h"
#include "client/exchange.h"

#define LOCAL_HOSTS "127.0.0.1,localhost,::1"

enum { TEXT_MAX = 512 }; /* of a key or an address */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static const char *first(const char *given, const char *own, const char *e2b)
{
    if (given && *given)
        return given;
    const char *value = getenv(own);
    if (!value || !*value)
        value = getenv(e2b);
    return value && *value ? value : NULL;
}

/* The one line of a file that a server on this machine keeps, or NULL. */
static char *read_line(const char *dir, const char *name)
{
    _cleanup_free_ char *path = path_join(dir, name);
    char *text = NULL;
    size_t len;
    if (fd_read_file(AT_FDCWD, path, TEXT_MAX, &text, &len) < 0)
        return NULL;
    text[strcspn(text, "\r\n")] = '\0';
    return text;
}

/* Goes into a header as it is. */
static bool word_valid(const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return n > 0 && n <= TEXT_MAX;
}

/* Without the slashes at its end; NULL if it is none. */
static char *take_url(const char *text, struct carrel_error *err)
{
    if (!word_valid(text) ||
        (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)) {
        error_set(err, CARREL_INVALID, "\"%.100s\" is no address such as http://127.0.0.1:3000",
                  text);
        return NULL;
    }
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '/')
        n--;
    return xstrndup(text, n);
}

/* The key of a server on this machine goes to that server only: it is looked for when the address
 * came from its files, too, or is its own. */
static int settle(struct carrel_client *client, const struct carrel_client_options *o,
                  struct carrel_error *err)
{
    const char *run_dir = o->run_dir ? o->run_dir : "/run/carrel";
    const char *state_dir = o->state_dir ? o->state_dir : "/var/lib/carrel";
    const char *key = first(o->api_key, "CARREL_API_KEY", "E2B_API_KEY");
    const char *url = first(o->api_url, "CARREL_API_URL", "E2B_API_URL");
    const char *domain = first(NULL, "CARREL_DOMAIN", "E2B_DOMAIN");
    _cleanup_free_ char *domain_url = !url && domain ? xasprintf("https://api.%s", domain) : NULL;
    if (domain_url)
        url = domain_url;
    const char *traffic = first(o->sandbox_url, "CARREL_SANDBOX_URL", "E2B_SANDBOX_URL");
    _cleanup_free_ char *local_line = read_line(run_dir, "url"), *local_key = NULL;
    _cleanup_free_ char *local_url = local_line ? take_url(local_line, NULL) : NULL;
    if (!url && !local_url)
        return error_set(err, CARREL_INVALID,
                         "no server named: set E2B_API_URL (`carrel env` prints it), or start "
                         "`carrel serve` on this machine");
    client->api_url = take_url(url ? url : local_url, err);
    if (!client->api_url)
        return -CARREL_INVALID;
    client->sandbox_url = traffic ? take_url(traffic, err) : xstrdup(client->api_url);
    if (!client->sandbox_url)
        return -CARREL_INVALID;
    if (!key && local_url && strcmp(client->api_url, local_url) == 0 &&
        strcmp(client->sandbox_url, local_url) == 0) {
        _cleanup_free_ char *dir = path_join(state_dir, "server");
        key = local_key = read_line(dir, "key");
    }
    if (!key)
        return error_set(err, CARREL_UNAUTHENTICATED,
                         "no API key: set E2B_API_KEY (`carrel env` prints it, as root)");
    if (!word_valid(key))
        return error_set(err, CARREL_INVALID, "the API key has characters that no key has");
    client->key = xstrdup(key);
    return 0;
}

struct carrel_client *carrel_client_new(const struct carrel_client_options *options,
                                        struct carrel_error *err)
{
    static const struct carrel_client_options defaults;
    const struct carrel_client_options *o = options ? options : &defaults;
    pthread_once(&curl_once, start_curl);
    struct carrel_client *client = xcalloc(1, sizeof *client);
    pthread_mutex_init(&client->lock, NULL);
    client->timeout_ms = o->timeout_ms ? o->timeout_ms : CLIENT_TIMEOUT_MS;
    client->user_agent = xasprintf("libcarrel/" CARREL_VERSION "%s%s", o->user_agent ? " " : "",
                                   o->user_agent ? o->user_agent : "");
    /* A server on this machine is never behind a proxy. */
    const char *authorities = first(NULL, "SSL_CERT_FILE", "CURL_CA_BUNDLE");
    client->authorities = authorities ? xstrdup(authorities) : NULL;
    const char *no_proxy = first(NULL, "no_proxy", "NO_PROXY");
    client->no_proxy = no_proxy ? xasprintf("%s,%s", LOCAL_HOSTS, no_proxy) : xstrdup(LOCAL_HOSTS);
    if (settle(client, o, err) < 0) {
        carrel_client_free(client);
        return NULL;
    }
    return client;
}

void carrel_client_free(struct carrel_client *client)
{
    if (!client)
        return;
    exchange_close_lines(client);
    pthread_mutex_destroy(&client->lock);
    if (client->key)
        explicit_bzero(client->key, strlen(client->key));
    free(client->key);
    free(client->api_url);
    free(client->sandbox_url);
    free(client->user_agent);
    free(client->no_proxy);
    free(client->authorities);
    free(client);
}

const char *carrel_client_url(const struct carrel_client *client)
{
    return client->api_url;
}

int carrel_client_request(struct carrel_client *client, const char *method, const char *path,
                          const char *body, const struct carrel_call *call, char **ret,
                          struct carrel_error *err)
{
    struct buf answer;
    int rc = call_control(client, method, path, body, call, &answer, err);
    if (rc == 0 && ret)
        *ret = xstrndup(buf_str(&answer).p, buf_len(&answer));
    buf_done(&answer);
    return rc;
}
