/* What Go calls: each function one crossing, with pointers to plain bytes only, so that nothing in Go's memory points on. */
#ifndef MICRO_GO_SHIM_H
#define MICRO_GO_SHIM_H

#include <micro.h>
#include <stdlib.h>
#include <string.h>

#if MICRO_ABI_MAJOR != 1
#error "this package is for libmicro 1.x: install the micro.h of that version"
#endif

/* Text and bytes of Go's, lent for a call. */
#define GO_SLICE(name) ((micro_slice){ (const uint8_t *)name, name##_len })
#define GO_BYTES(name) ((micro_bytes){ (const uint8_t *)name, name##_len, NULL })

static inline micro_status go_abi_check(void) {
    return micro_abi_check(MICRO_ABI_MAJOR << 16 | MICRO_ABI_MINOR, sizeof(micro_event), sizeof(micro_request));
}

static inline micro_status go_runtime_new(const void *json, size_t json_len, micro_runtime **out, micro_error **err) {
    micro_options options = { .size = sizeof options, .json = GO_SLICE(json) };
    return micro_runtime_new(&options, out, err);
}

static inline micro_status go_client_new(micro_runtime *runtime, const void *json, size_t json_len, micro_client **out,
                                         micro_error **err) {
    micro_options options = { .size = sizeof options, .json = GO_SLICE(json) };
    return micro_client_new(runtime, &options, out, err);
}

static inline micro_status go_server_new(micro_runtime *runtime, const void *name, size_t name_len, const void *json,
                                         size_t json_len, micro_server **out, micro_error **err) {
    micro_options options = { .size = sizeof options, .json = GO_SLICE(json) };
    return micro_server_new(runtime, GO_SLICE(name), &options, out, err);
}

static inline micro_status go_server_explain(const void *name, size_t name_len, const void *json, size_t json_len,
                                             micro_bytes *out, micro_error **err) {
    micro_options options = { .size = sizeof options, .json = GO_SLICE(json) };
    return micro_server_explain(GO_SLICE(name), &options, out, err);
}

static inline micro_status go_server_method(micro_server *server, const void *name, size_t name_len, uint32_t shape,
                                            const void *json, size_t json_len, micro_error **err) {
    return micro_server_method(server, GO_SLICE(name), shape, GO_SLICE(json), NULL, err);
}

static inline micro_status go_server_health(micro_server *server, const void *name, size_t name_len, int serving) {
    return micro_server_health(server, GO_SLICE(name), serving != 0);
}

/* A call where `shape` is MICRO_UNARY, else a stream. */
static inline micro_status go_call(micro_client *client, micro_queue *queue, uint32_t shape, uint32_t flags,
                                   const void *service, size_t service_len, const void *method, size_t method_len,
                                   const void *meta, size_t meta_len, const void *payload, size_t payload_len,
                                   uint64_t timeout_ns, micro_id parent, const void *options, size_t options_len,
                                   uint64_t token, micro_id *id, micro_error **err) {
    micro_request request = { .size = sizeof request,
                              .flags = flags,
                              .service = GO_SLICE(service),
                              .method = GO_SLICE(method),
                              .meta = GO_SLICE(meta),
                              .payload = GO_BYTES(payload),
                              .timeout_ns = timeout_ns,
                              .parent = parent,
                              .options = GO_SLICE(options) };
    return shape == MICRO_UNARY ? micro_client_call(client, queue, &request, token, id, err)
                                : micro_client_open(client, queue, &request, shape, token, id, err);
}

static inline micro_status go_ask(micro_client *client, micro_queue *queue, int follow, uint32_t operation, const void *args,
                                  size_t args_len, uint64_t timeout_ns, micro_id parent, uint64_t token, micro_id *id,
                                  micro_error **err) {
    micro_question question = { .size = sizeof question,
                                .flags = MICRO_REQUEST_WAIT,
                                .operation = operation,
                                .args = GO_SLICE(args),
                                .timeout_ns = timeout_ns,
                                .parent = parent };
    return follow ? micro_follow(client, queue, &question, token, id, err) : micro_ask(client, queue, &question, token, id, err);
}

static inline micro_status go_provide(micro_runtime *runtime, uint32_t area, const void *name, size_t name_len,
                                      micro_queue *queue, uint64_t token, micro_id *id, micro_error **err) {
    return micro_provide(runtime, area, GO_SLICE(name), queue, token, id, err);
}

static inline micro_status go_publish(micro_client *client, micro_queue *queue, uint32_t flags, const void *topic,
                                      size_t topic_len, const void *meta, size_t meta_len, const void *payload,
                                      size_t payload_len, uint64_t timeout_ns, micro_id parent, const void *options,
                                      size_t options_len, uint64_t token, micro_id *id, micro_error **err) {
    micro_message message = { .size = sizeof message,
                              .flags = flags,
                              .topic = GO_SLICE(topic),
                              .meta = GO_SLICE(meta),
                              .payload = GO_BYTES(payload),
                              .timeout_ns = timeout_ns,
                              .parent = parent,
                              .options = GO_SLICE(options) };
    return micro_publish(client, queue, &message, token, id, err);
}

static inline micro_status go_server_subscribe(micro_server *server, const void *topic, size_t topic_len, const void *json,
                                               size_t json_len, micro_error **err) {
    return micro_server_subscribe(server, GO_SLICE(topic), GO_SLICE(json), NULL, err);
}

static inline micro_status go_server_job(micro_server *server, const void *json, size_t json_len, micro_error **err) {
    return micro_server_job(server, GO_SLICE(json), NULL, err);
}

static inline micro_status go_settle(micro_runtime *runtime, micro_id message, uint32_t verdict, uint64_t delay_ns,
                                     const void *reason, size_t reason_len) {
    return micro_settle(runtime, message, verdict, delay_ns, GO_SLICE(reason));
}

static inline micro_status go_send(micro_runtime *runtime, micro_id stream, const void *message, size_t message_len) {
    return micro_stream_send(runtime, stream, GO_BYTES(message), 0);
}

static inline micro_status go_reply(micro_runtime *runtime, micro_id call, const void *payload, size_t payload_len,
                                    const void *trailers, size_t trailers_len) {
    return micro_reply(runtime, call, MICRO_OK, GO_BYTES(payload), GO_SLICE(trailers));
}

static inline micro_status go_call_headers(micro_runtime *runtime, micro_id call, const void *headers, size_t headers_len) {
    return micro_call_headers(runtime, call, GO_SLICE(headers));
}

static inline micro_status go_codec(const void *name, size_t name_len, uint16_t *out, micro_error **err) {
    return micro_codec(GO_SLICE(name), out, err);
}

/* An error to answer with: by go-micro's number where there is one. */
static inline micro_error *go_error_new(int32_t status, int32_t http, const void *id, size_t id_len, const void *message,
                                        size_t message_len) {
    return http ? micro_error_from_http(http, GO_SLICE(id), GO_SLICE(message))
                : micro_error_new(status, GO_SLICE(id), GO_SLICE(message));
}

static inline micro_status go_error_attach(micro_error *error, const void *name, size_t name_len, const void *value,
                                           size_t value_len) {
    return micro_error_attach(error, GO_SLICE(name), GO_SLICE(value));
}

/* Answers with an error, and frees it if asked to. */
static inline micro_status go_reply_error(micro_runtime *runtime, micro_id call, micro_error *error, int frees,
                                          const void *trailers, size_t trailers_len) {
    micro_status status = micro_reply_error(runtime, call, error, GO_SLICE(trailers));
    if (frees) {
        micro_error_free(error);
    }
    return status;
}

static inline micro_status go_meta_add(micro_bytes *block, const void *name, size_t name_len, const void *value,
                                       size_t value_len, micro_error **err) {
    return micro_meta_add(block, GO_SLICE(name), GO_SLICE(value), err);
}

/* What an error says, at once. */
typedef struct {
    micro_status status;
    int32_t http;
    uint32_t attempts;
    size_t details;
    micro_slice id, message, reason, service, endpoint, node;
} go_error;

static inline void go_error_read(const micro_error *error, go_error *out) {
    *out = (go_error){ micro_error_status(error),   micro_error_http_code(error), micro_error_attempts(error),
                       micro_error_detail_count(error), micro_error_id(error),    micro_error_message(error),
                       micro_error_reason(error),   micro_error_service(error),   micro_error_endpoint(error),
                       micro_error_node(error) };
}

/* Where an entry of metadata is in its block. */
typedef struct {
    uint32_t name, name_len, value, value_len;
} go_entry;

/* Up to `max` entries of the first block, from where `at` and `read` say; `rest` is where what follows it begins. */
static inline size_t go_meta_read(const void *blocks, size_t blocks_len, size_t *at, uint32_t *read, go_entry *entries,
                                  size_t max, size_t *rest) {
    const uint8_t *first = (const uint8_t *)blocks;
    micro_meta walk = { GO_SLICE(blocks), *at, *read };
    micro_slice name, value;
    size_t count = 0;
    while (count < max && micro_meta_next(&walk, &name, &value)) {
        entries[count++] = (go_entry){ (uint32_t)(name.ptr - first), (uint32_t)name.len, (uint32_t)(value.ptr - first),
                                       (uint32_t)value.len };
    }
    *at = walk.at;
    *read = walk.read;
    *rest = blocks_len - micro_meta_rest(walk.blocks).len;
    return count;
}

static inline void go_events_release(micro_event *events, size_t count) {
    for (size_t one = 0; one < count; one++) {
        micro_event *event = &events[one];
        if (event->payload.own || event->meta.own || event->error) {
            micro_event_release(event);
        }
    }
}

static inline size_t go_drain(micro_queue *queue, micro_event *events, size_t max) {
    return micro_queue_drain(queue, events, sizeof *events, max);
}

#endif
