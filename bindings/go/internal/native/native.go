// Package native crosses the border to libmicro: every function of the C ABI that Go needs, each one crossing, and the queues on
// which everything is told. No function of Go's is called from C.
package native

/*
#cgo pkg-config: micro
#cgo noescape go_abi_check
#cgo nocallback go_abi_check
#cgo noescape go_runtime_new
#cgo nocallback go_runtime_new
#cgo noescape go_client_new
#cgo nocallback go_client_new
#cgo noescape go_server_new
#cgo nocallback go_server_new
#cgo noescape go_server_method
#cgo nocallback go_server_method
#cgo noescape go_server_health
#cgo nocallback go_server_health
#cgo noescape go_call
#cgo nocallback go_call
#cgo noescape go_ask
#cgo nocallback go_ask
#cgo noescape go_provide
#cgo nocallback go_provide
#cgo noescape go_publish
#cgo nocallback go_publish
#cgo noescape go_server_subscribe
#cgo nocallback go_server_subscribe
#cgo noescape go_settle
#cgo nocallback go_settle
#cgo noescape go_send
#cgo nocallback go_send
#cgo noescape go_reply
#cgo nocallback go_reply
#cgo noescape go_call_headers
#cgo nocallback go_call_headers
#cgo noescape go_server_explain
#cgo nocallback go_server_explain
#cgo noescape go_codec
#cgo nocallback go_codec
#cgo noescape micro_call_send_headers
#cgo nocallback micro_call_send_headers
#cgo noescape go_error_new
#cgo nocallback go_error_new
#cgo noescape go_error_attach
#cgo nocallback go_error_attach
#cgo noescape go_reply_error
#cgo nocallback go_reply_error
#cgo noescape go_meta_add
#cgo nocallback go_meta_add
#cgo noescape go_meta_read
#cgo nocallback go_meta_read
#cgo noescape go_error_read
#cgo nocallback go_error_read
#cgo noescape go_events_release
#cgo nocallback go_events_release
#cgo noescape go_drain
#cgo nocallback go_drain
#cgo noescape micro_version
#cgo nocallback micro_version
#cgo noescape micro_abi_version
#cgo nocallback micro_abi_version
#cgo noescape micro_runtime_shutdown
#cgo nocallback micro_runtime_shutdown
#cgo noescape micro_runtime_free
#cgo nocallback micro_runtime_free
#cgo noescape micro_queue_new
#cgo nocallback micro_queue_new
#cgo noescape micro_queue_fd
#cgo nocallback micro_queue_fd
#cgo noescape micro_queue_free
#cgo nocallback micro_queue_free
#cgo noescape micro_client_free
#cgo nocallback micro_client_free
#cgo noescape micro_server_start
#cgo nocallback micro_server_start
#cgo noescape micro_server_stop
#cgo nocallback micro_server_stop
#cgo noescape micro_server_client
#cgo nocallback micro_server_client
#cgo noescape micro_server_free
#cgo nocallback micro_server_free
#cgo noescape micro_cancel
#cgo nocallback micro_cancel
#cgo noescape micro_stream_close
#cgo nocallback micro_stream_close
#cgo noescape micro_stream_grant
#cgo nocallback micro_stream_grant
#cgo noescape micro_call_describe
#cgo nocallback micro_call_describe
#cgo noescape micro_bytes_release
#cgo nocallback micro_bytes_release
#cgo noescape micro_error_detail
#cgo nocallback micro_error_detail
#cgo noescape micro_error_free
#cgo nocallback micro_error_free
#cgo noescape micro_status_name
#cgo nocallback micro_status_name
#cgo noescape micro_debug_live
#cgo nocallback micro_debug_live
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// ID names a call, stream, watch or server; 0 names none.
type ID uint64

// NoTimeout waits for ever.
const NoTimeout = uint64(C.MICRO_NO_TIMEOUT)

// Shapes of endpoints and calls.
const (
	Unary        = C.MICRO_UNARY
	ClientStream = C.MICRO_CLIENT_STREAM
	ServerStream = C.MICRO_SERVER_STREAM
	BidiStream   = C.MICRO_BIDI_STREAM
)

// Codecs and other flags of a request or a message.
const (
	Proto         = C.MICRO_CODEC_PROTO
	JSON          = C.MICRO_CODEC_JSON
	Bytes         = C.MICRO_CODEC_BYTES
	Text          = C.MICRO_CODEC_TEXT
	CodecMask     = C.MICRO_CODEC_MASK
	Compressed    = C.MICRO_COMPRESSED
	Wait          = C.MICRO_REQUEST_WAIT
	Idempotent    = C.MICRO_REQUEST_IDEMPOTENT
	NotIdempotent = C.MICRO_REQUEST_NOT_IDEMPOTENT
)

// Statuses beside gRPC's codes.
const (
	Stale     = C.MICRO_STALE
	Forked    = C.MICRO_FORKED
	Panic     = C.MICRO_PANIC
	Closed    = C.MICRO_CLOSED
	Full      = C.MICRO_FULL
	ABI       = C.MICRO_ABI
	Arg       = C.MICRO_ARG
	Cancelled = C.MICRO_CANCELLED
	Deadline  = C.MICRO_DEADLINE_EXCEEDED
)

// What is asked: one number an operation.
const (
	ClientHealth       = C.MICRO_CLIENT_HEALTH
	ClientStats        = C.MICRO_CLIENT_STATS
	ClientNodes        = C.MICRO_CLIENT_NODES
	RegistryGet        = C.MICRO_REGISTRY_GET
	RegistryList       = C.MICRO_REGISTRY_LIST
	RegistryWatch      = C.MICRO_REGISTRY_WATCH
	RegistryRegister   = C.MICRO_REGISTRY_REGISTER
	RegistryDeregister = C.MICRO_REGISTRY_DEREGISTER
	ServiceStats       = C.MICRO_SERVICE_STATS
	ServiceJobs        = C.MICRO_SERVICE_JOBS
	TaskResult         = C.MICRO_TASK_RESULT
	TaskState          = C.MICRO_TASK_STATE
	BrokerSubscribe    = C.MICRO_BROKER_SUBSCRIBE
	AreaRegistry       = C.MICRO_AREA_REGISTRY
	AreaBroker         = C.MICRO_AREA_BROKER
	ProvidedPublish    = C.MICRO_PROVIDED_PUBLISH
)

// What a broker that is provided can do.
const (
	AbleRedelivers   = C.MICRO_ABLE_REDELIVERS
	AblePersists     = C.MICRO_ABLE_PERSISTS
	AbleReplays      = C.MICRO_ABLE_REPLAYS
	AbleDelays       = C.MICRO_ABLE_DELAYS
	AbleOrdersByKey  = C.MICRO_ABLE_ORDERS_BY_KEY
	AbleExpires      = C.MICRO_ABLE_EXPIRES
	AbleDeduplicates = C.MICRO_ABLE_DEDUPLICATES
	AblePrioritizes  = C.MICRO_ABLE_PRIORITIZES
)

// What is said of a message.
const (
	Ack    = C.MICRO_ACK
	Retry  = C.MICRO_RETRY
	Reject = C.MICRO_REJECT
	Extend = C.MICRO_EXTEND
)

// Error is a failure as the library tells it.
type Error struct {
	Status   int32
	HTTP     int32
	Attempts uint32
	ID       string
	Message  string
	Reason   string
	Service  string
	Endpoint string
	Node     string
	Details  []Detail
	// The library's own, of one whose number does not follow from its status: no other function can make such a one again.
	origin *origin
}

type origin struct{ err *C.micro_error }

// Kept says whether it can only be passed on as it is.
func (e *Error) Kept() bool { return e.origin != nil }

// HTTP is go-micro's number of a status, which is like an HTTP status.
func HTTP(status int32) int32 {
	switch status {
	case C.MICRO_OK:
		return 200
	case C.MICRO_INVALID_ARGUMENT, C.MICRO_OUT_OF_RANGE:
		return 400
	case C.MICRO_UNAUTHENTICATED:
		return 401
	case C.MICRO_PERMISSION_DENIED:
		return 403
	case C.MICRO_NOT_FOUND:
		return 404
	case C.MICRO_DEADLINE_EXCEEDED:
		return 408
	case C.MICRO_ALREADY_EXISTS, C.MICRO_ABORTED:
		return 409
	case C.MICRO_FAILED_PRECONDITION:
		return 412
	case C.MICRO_RESOURCE_EXHAUSTED:
		return 429
	case C.MICRO_CANCELLED:
		return 499
	case C.MICRO_UNIMPLEMENTED:
		return 501
	case C.MICRO_UNAVAILABLE:
		return 503
	}
	return 500
}

// take keeps the library's own where it has to be kept; false where the caller frees it.
func (e *Error) take(from *C.micro_error) bool {
	if e.Status <= 0 || e.Status > C.MICRO_UNAUTHENTICATED || e.HTTP == 0 || HTTP(e.Status) == e.HTTP {
		return false
	}
	e.origin = &origin{from}
	runtime.AddCleanup(e.origin, func(err *C.micro_error) { C.micro_error_free(err) }, from)
	return true
}

func (e *Error) Error() string { return e.Message }

// Detail is a protobuf message attached to an error.
type Detail struct {
	Name  string
	Value []byte
}

func text(slice C.micro_slice) string {
	return C.GoStringN((*C.char)(unsafe.Pointer(slice.ptr)), C.int(slice.len))
}

func pointer[T string | []byte](from T) (unsafe.Pointer, C.size_t) {
	switch from := any(from).(type) {
	case string:
		return unsafe.Pointer(unsafe.StringData(from)), C.size_t(len(from))
	case []byte:
		return unsafe.Pointer(unsafe.SliceData(from)), C.size_t(len(from))
	}
	return nil, 0
}

// read makes a failure of one of the library's, which stays its owner's.
func read(status C.micro_status, from *C.micro_error) *Error {
	if from == nil {
		return &Error{Status: int32(status), Message: "the library gave no reason"}
	}
	var out C.go_error
	C.go_error_read(from, &out)
	made := &Error{
		Status:   int32(out.status),
		HTTP:     int32(out.http),
		Attempts: uint32(out.attempts),
		ID:       text(out.id),
		Message:  text(out.message),
		Reason:   text(out.reason),
		Service:  text(out.service),
		Endpoint: text(out.endpoint),
		Node:     text(out.node),
	}
	for number := range int(out.details) {
		var value C.micro_slice
		name := C.micro_error_detail(from, C.size_t(number), &value)
		made.Details = append(made.Details, Detail{text(name), C.GoBytes(unsafe.Pointer(value.ptr), C.int(value.len))})
	}
	return made
}

// failed is nil for success, else what the library said, which is freed.
func failed(status C.micro_status, from *C.micro_error) *Error {
	if status == C.MICRO_OK {
		return nil
	}
	made := read(status, from)
	if !made.take(from) {
		C.micro_error_free(from)
	}
	if made.Status == 0 {
		made.Status = int32(status)
	}
	return made
}

// Codec is the number of a content type of the program's own.
func Codec(name string) (uint32, *Error) {
	at, length := pointer(name)
	var out C.uint16_t
	var err *C.micro_error
	if status := C.go_codec(at, length, &out, &err); status != C.MICRO_OK {
		return 0, failed(status, err)
	}
	return uint32(out), nil
}

// Version is that of the library which is loaded, such as "0.1.0".
func Version() string { return text(C.micro_version()) }

// Check says whether the library that is loaded is one that this program can use.
func Check() error {
	if C.go_abi_check() == C.MICRO_OK {
		return nil
	}
	loaded := uint32(C.micro_abi_version())
	return &Error{Status: ABI, ID: "micro", Message: fmt.Sprintf(
		"this program was built for libmicro %d.%d, and the one that is loaded is %d.%d: install that version or a later one",
		C.MICRO_ABI_MAJOR, C.MICRO_ABI_MINOR, loaded>>16, loaded&0xffff)}
}

// Live says how many things of the library are alive in this process, for tests that look for leaks; 0 counts all kinds, and
// the others are MICRO_LIVE_* of micro.h.
func Live(kind uint32) uint64 { return uint64(C.micro_debug_live(C.uint32_t(kind))) }

// Entry of metadata; a value under a name that ends in "-bin" is bytes as they are.
type Entry struct{ Name, Value string }

// ReadMeta reads headers, and the trailers that follow them.
func ReadMeta(blocks []byte) (headers, trailers []Entry) {
	if len(blocks) == 0 {
		return nil, nil
	}
	headers, rest := readBlock(blocks)
	if rest < len(blocks) {
		trailers, _ = readBlock(blocks[rest:])
	}
	return headers, trailers
}

func readBlock(blocks []byte) (found []Entry, rest int) {
	var at, end C.size_t
	var seen C.uint32_t
	var entries [16]C.go_entry
	whole := string(blocks)
	data, size := pointer(whole)
	for {
		count := C.go_meta_read(data, size, &at, &seen, &entries[0], C.size_t(len(entries)), &end)
		for _, one := range entries[:count] {
			found = append(found, Entry{
				whole[one.name : one.name+one.name_len],
				whole[one.value : one.value+one.value_len],
			})
		}
		if int(count) < len(entries) {
			return found, int(end)
		}
	}
}

// Meta makes a block of headers or trailers.
func Meta(entries []Entry) ([]byte, *Error) {
	if len(entries) == 0 {
		return nil, nil
	}
	var block C.micro_bytes
	defer func() { C.micro_bytes_release(block) }()
	for _, one := range entries {
		name, nameLen := pointer(one.Name)
		value, valueLen := pointer(one.Value)
		var err *C.micro_error
		if status := C.go_meta_add(&block, name, nameLen, value, valueLen, &err); status != C.MICRO_OK {
			return nil, failed(status, err)
		}
	}
	return C.GoBytes(unsafe.Pointer(block.ptr), C.int(block.len)), nil
}
