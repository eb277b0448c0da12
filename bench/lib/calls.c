/* SPDX-License-Identifier: Apache-2.0 */
/* The same requests by libcarrel and by libcurl alone, in turn, on connections that are kept.
 * Prints "name<TAB>nanoseconds<TAB>1" for each; what fails ends it.
 *
 * usage: calls ROUNDS SANDBOX-ID TOKEN       (E2B_API_URL and E2B_API_KEY in the environment) */
#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <carrel/client.h>

enum { SMALL = 1024 };

static struct carrel_error err;
static struct carrel_sandbox *sandbox;
static CURL *curl;
static struct curl_slist *unary, *stream, *octets;
static const char *url;
static char small[SMALL], start_message[512];
static size_t start_size;

static int64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static size_t drop(char *p, size_t size, size_t count, void *arg)
{
    (void)p, (void)arg;
    return size * count;
}

static int request(const char *path, struct curl_slist *headers, const void *body, size_t n)
{
    char whole[512];
    long status = 0;
    snprintf(whole, sizeof whole, "%s%s", url, path);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, whole);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)n);
    }
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return rc == CURLE_OK && status == 200;
}

static int curl_exists(void)
{
    static const char body[] = "{\"path\":\"/tmp\"}";
    return request("/filesystem.Filesystem/Stat", unary, body, sizeof body - 1);
}

static int curl_write(void)
{
    return request("/files?path=/tmp/k", octets, small, sizeof small);
}

static int curl_read(void)
{
    return request("/files?path=/tmp/k", octets, NULL, 0);
}

static int curl_run(void)
{
    return request("/process.Process/Start", stream, start_message, start_size);
}

static int carrel_exists(void)
{
    return carrel_file_exists(sandbox, "/tmp", NULL, &err) == 1;
}

static int carrel_write(void)
{
    return carrel_file_write(sandbox, "/tmp/k", small, sizeof small, NULL, &err) == 0;
}

static int carrel_read(void)
{
    char *text;
    size_t n;
    if (carrel_file_read(sandbox, "/tmp/k", 0, NULL, &text, &n, &err) < 0)
        return 0;
    free(text);
    return 1;
}

static int carrel_true(void)
{
    struct carrel_result result;
    if (carrel_run(sandbox, "true", NULL, NULL, &result, &err) < 0)
        return 0;
    carrel_result_done(&result);
    return 1;
}

static const struct {
    const char *name;
    int (*call)(void);
} contestants[] = {
    {"exists curl", curl_exists},   {"exists carrel", carrel_exists}, {"write curl", curl_write},
    {"write carrel", carrel_write}, {"read curl", curl_read},         {"read carrel", carrel_read},
    {"run curl", curl_run},         {"run carrel", carrel_true},
};

static void prepare(const char *id, const char *token)
{
    static const char message[] =
        "{\"process\":{\"cmd\":\"/bin/bash\",\"args\":[\"-l\",\"-c\",\"true\"],\"envs\":{}},"
        "\"keepOutput\":true,\"stdin\":false}";
    struct curl_slist **lists[] = {&unary, &stream, &octets};
    const char *types[] = {"application/json", "application/connect+json",
                           "application/octet-stream"};
    char text[512];
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "Content-Type: %s", types[i]);
        *lists[i] = curl_slist_append(NULL, text);
        snprintf(text, sizeof text, "E2b-Sandbox-Id: %s", id);
        *lists[i] = curl_slist_append(*lists[i], text);
        *lists[i] = curl_slist_append(*lists[i], "E2b-Sandbox-Port: 49983");
        snprintf(text, sizeof text, "X-Access-Token: %s", token);
        *lists[i] = curl_slist_append(*lists[i], text);
        *lists[i] = curl_slist_append(*lists[i], "Expect:");
    }
    start_message[4] = (char)(sizeof message - 1); /* one envelope: flags, big-endian length */
    memcpy(start_message + 5, message, sizeof message - 1);
    start_size = 5 + sizeof message - 1;
}

int main(int argc, char **argv)
{
    int rounds;
    if (argc != 4 || sscanf(argv[1], "%d", &rounds) != 1)
        return 2;
    struct carrel_client *client = carrel_client_new(NULL, &err);
    if (!client || carrel_sandbox_find(client, argv[2], NULL, &sandbox, &err) < 0) {
        fprintf(stderr, "calls: %s\n", err.message);
        return 1;
    }
    url = carrel_client_url(client);
    curl = curl_easy_init();
    prepare(argv[2], argv[3]);
    memset(small, 'x', sizeof small);
    for (int round = -1; round < rounds; round++)
        for (size_t i = 0; i < sizeof contestants / sizeof contestants[0]; i++) {
            int64_t begun = now();
            int ok = contestants[i].call();
            if (!ok) {
                fprintf(stderr, "calls: %s: %s\n", contestants[i].name, err.message);
                return 1;
            }
            if (round >= 0) /* the first one connects */
                printf("%s\t%lld\t1\n", contestants[i].name, (long long)(now() - begun));
        }
    return 0;
}
