package native

// #include "shim.h"
import "C"

import (
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Server is a service, from its start to its end.
type Server struct {
	runtime *Runtime
	server  *C.micro_server
	gate    gate
	// Makes a call and begins it, on the goroutine that drains.
	made    func() *Inbound
	serve   func(*Inbound)
	opened  chan struct{}
	over    chan struct{}
	token   atomic.Uint64
	isOpen  atomic.Bool
	Record  []byte
	err     *Error
	id      atomic.Uint64
	serving sync.WaitGroup

	lock  sync.Mutex
	calls map[ID]*Inbound
}

// NewServer makes a service that has not started. It retains the runtime until it is freed. Each call is one that `made` makes, and
// is begun by `serve`, which does not wait.
func NewServer(runtime *Runtime, name string, options []byte, made func() *Inbound, serve func(*Inbound)) (*Server, *Error) {
	service := &Server{
		runtime: runtime,
		gate:    newGate(),
		made:    made,
		serve:   serve,
		opened:  make(chan struct{}),
		over:    make(chan struct{}),
		calls:   map[ID]*Inbound{},
	}
	if !runtime.gate.enter() {
		return nil, errClosed
	}
	defer runtime.gate.leave()
	nameAt, nameLen := pointer(name)
	data, size := pointer(options)
	var err *C.micro_error
	if status := C.go_server_new(runtime.runtime, nameAt, nameLen, data, size, &service.server, &err); status != C.MICRO_OK {
		return nil, failed(status, err)
	}
	runtime.Retain()
	return service, nil
}

// Explain is every setting with its value and what set it, as a JSON array.
func Explain(name string, options []byte) ([]byte, *Error) {
	at, length := pointer(name)
	data, size := pointer(options)
	var out C.micro_bytes
	var err *C.micro_error
	if status := C.go_server_explain(at, length, data, size, &out, &err); status != C.MICRO_OK {
		return nil, failed(status, err)
	}
	defer C.micro_bytes_release(out)
	return C.GoBytes(unsafe.Pointer(out.ptr), C.int(out.len)), nil
}

// Method adds an endpoint; they are numbered from 0, in the order of this call.
func (s *Server) Method(name string, shape uint32, options []byte) *Error {
	nameAt, nameLen := pointer(name)
	data, size := pointer(options)
	var err *C.micro_error
	status := C.go_server_method(s.server, nameAt, nameLen, C.uint32_t(shape), data, size, &err)
	return failed(status, err)
}

// Subscribe adds a subscriber to a topic; they are numbered in one row with methods.
func (s *Server) Subscribe(topic string, options []byte) *Error {
	at, length := pointer(topic)
	data, size := pointer(options)
	var err *C.micro_error
	status := C.go_server_subscribe(s.server, at, length, data, size, &err)
	return failed(status, err)
}

// Job adds a job; they are numbered in one row with methods.
func (s *Server) Job(options []byte) *Error {
	data, size := pointer(options)
	var err *C.micro_error
	status := C.go_server_job(s.server, data, size, &err)
	return failed(status, err)
}

// Start listens, registers and serves. It returns when callers may come, or with why they may not.
func (s *Server) Start() *Error {
	queue := s.runtime.queue()
	token, ok := queue.table.add(s)
	if !ok {
		return errClosed
	}
	var err *C.micro_error
	if status := C.micro_server_start(s.server, queue.queue, C.uint64_t(token), &err); status != C.MICRO_OK {
		queue.table.remove(token)
		return failed(status, err)
	}
	select {
	case <-s.opened:
		return nil
	case <-s.over:
		if s.err == nil {
			return &Error{Status: Closed, ID: "micro", Message: "the service ended before it had started"}
		}
		return s.err
	}
}

// Over is closed when the service is over.
func (s *Server) Over() <-chan struct{} { return s.over }

// Err is what it ended with, once it is over.
func (s *Server) Err() *Error { return s.err }

// Stop stops in order, and returns at once; Over tells when that is done.
func (s *Server) Stop() {
	if s.gate.enter() {
		C.micro_server_stop(s.server)
		s.gate.leave()
	}
}

// Abort cuts everything off.
func (s *Server) Abort() { s.runtime.Cancel(ID(s.id.Load())) }

// Free lets it go, once it is over, or was never started.
func (s *Server) Free() {
	if s.gate.shut() {
		C.micro_server_free(s.server)
		s.runtime.Release()
	}
}

// Wait returns when every handler has returned.
func (s *Server) Wait() { s.serving.Wait() }

// SetHealth says whether a service is ready.
func (s *Server) SetHealth(service string, serving bool) *Error {
	if !s.gate.enter() {
		return errClosed
	}
	defer s.gate.leave()
	name, nameLen := pointer(service)
	ready := C.int(0)
	if serving {
		ready = 1
	}
	if status := C.go_server_health(s.server, name, nameLen, ready); status != C.MICRO_OK {
		return &Error{Status: int32(status), ID: "micro", Message: "the service does not run"}
	}
	return nil
}

// Client calls in the service's name.
func (s *Server) Client() (*Client, *Error) {
	if !s.gate.enter() {
		return nil, errClosed
	}
	defer s.gate.leave()
	made := &Client{runtime: s.runtime, gate: newGate()}
	var err *C.micro_error
	if status := C.micro_server_client(s.server, &made.client, &err); status != C.MICRO_OK {
		return nil, failed(status, err)
	}
	s.runtime.Retain()
	return made, nil
}

// Told is what the queue tells of a service and its calls.
func (s *Server) Told(event *Event) bool {
	switch event.Kind {
	case Opened:
		s.id.Store(uint64(event.ID))
		s.Record = event.Payload()
		s.isOpen.Store(true)
		close(s.opened)
	case Call:
		s.begin(event)
	case Message:
		if call := s.call(event.ID); call != nil && call.stream != nil {
			call.stream.receive(event)
		}
	case Writable:
		if call := s.call(event.ID); call != nil && call.stream != nil {
			call.stream.writable()
		}
	case CallCancelled:
		if call := s.call(event.ID); call != nil {
			call.cancelled(event.Status)
		}
	case End:
		if call := s.call(event.ID); call != nil {
			if call.stream != nil {
				call.stream.last(event.Err)
			}
			return false
		}
		if event.ID != 0 && s.isOpen.Load() && event.ID != ID(s.id.Load()) {
			// Of a call that was answered meanwhile.
			return false
		}
		s.err = event.Err
		s.end()
		close(s.over)
		return true
	}
	return false
}

// end tells calls that are still there that nobody waits for them.
func (s *Server) end() {
	s.lock.Lock()
	var left []*Inbound
	for _, call := range s.calls {
		left = append(left, call)
	}
	s.lock.Unlock()
	for _, call := range left {
		call.cancelled(Cancelled)
	}
}

func (s *Server) call(id ID) *Inbound {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.calls[id]
}

func (s *Server) begin(event *Event) {
	call := s.made()
	call.server, call.ID, call.Method, call.Flags, call.Timeout = s, event.ID, event.Method, event.Flags, event.Timeout
	call.Payload, call.Meta = event.Both()
	if event.Timeout != NoTimeout {
		call.Deadline = time.Now().Add(time.Duration(min(event.Timeout, 1<<62)))
	}
	s.lock.Lock()
	s.calls[event.ID] = call
	s.lock.Unlock()
	s.serving.Add(1)
	s.serve(call)
}

// Inbound is a call that came in. It is answered once.
type Inbound struct {
	server  *Server
	ID      ID
	Method  uint32
	Flags   uint16
	Timeout uint64
	Payload []byte
	Meta    []byte
	// Deadline is when the caller stops waiting; zero where it never does.
	Deadline time.Time
	// Of who made it.
	Owner  any
	stream *Stream

	lock     sync.Mutex
	status   int32
	onCancel Cancelling
}

// Cancelling hears once that nobody waits for the answer any more.
type Cancelling interface{ Cancelled(status int32) }

// Stream has messages come, and go out; asked for on the goroutine that told of the call, before that goes on.
func (i *Inbound) Stream() *Stream {
	if i.stream == nil {
		i.stream = newStream(i.server.runtime)
		i.stream.id.Store(uint64(i.ID))
	}
	return i.stream
}

// Begin lets the requests of a stream come.
func (i *Inbound) Begin() { i.stream.begin() }

// OnCancel has one hear of it once nobody waits for the answer any more; at once where that is so.
func (i *Inbound) OnCancel(heard Cancelling) {
	i.lock.Lock()
	status := i.status
	i.onCancel = heard
	i.lock.Unlock()
	if status != 0 {
		heard.Cancelled(status)
	}
}

func (i *Inbound) cancelled(status int32) {
	i.lock.Lock()
	if i.status != 0 {
		i.lock.Unlock()
		return
	}
	i.status = status
	heard := i.onCancel
	i.lock.Unlock()
	// First, so that a handler which the stream tells of the end sees it in its context too.
	if heard != nil {
		heard.Cancelled(status)
	}
	if i.stream != nil {
		i.stream.finish(nil, &Error{Status: status, ID: "micro", Message: "the caller no longer waits for this call"})
	}
}

// done forgets the call.
func (i *Inbound) done() {
	i.server.lock.Lock()
	delete(i.server.calls, i.ID)
	i.server.lock.Unlock()
	if i.stream != nil {
		// Goroutines that still read or send are told.
		i.stream.finish(nil, &Error{Status: Cancelled, ID: "micro", Message: "the call was answered"})
	}
	i.server.serving.Done()
}

// Reply answers with a message and trailers.
func (i *Inbound) Reply(payload, trailers []byte) {
	defer i.done()
	runtime := i.server.runtime
	if !runtime.gate.enter() {
		return
	}
	data, size := pointer(payload)
	tail, tailLen := pointer(trailers)
	C.go_reply(runtime.runtime, C.micro_id(i.ID), data, size, tail, tailLen)
	runtime.gate.leave()
}

// Settle says what became of a message that came in. It is answered with that.
func (i *Inbound) Settle(verdict uint32, after time.Duration, reason string) {
	defer i.done()
	_ = i.server.runtime.Settle(i.ID, verdict, after, reason)
}

// Fail answers with a failure.
func (i *Inbound) Fail(failure *Error, trailers []byte) {
	defer i.done()
	runtime := i.server.runtime
	if !runtime.gate.enter() {
		return
	}
	defer runtime.gate.leave()
	tail, tailLen := pointer(trailers)
	if failure.origin != nil {
		C.go_reply_error(runtime.runtime, C.micro_id(i.ID), failure.origin.err, 0, tail, tailLen)
		goruntime.KeepAlive(failure.origin)
		return
	}
	id, idLen := pointer(failure.ID)
	message, messageLen := pointer(failure.Message)
	made := C.go_error_new(C.int32_t(failure.Status), C.int32_t(failure.HTTP), id, idLen, message, messageLen)
	if made == nil {
		none, noneLen := pointer("")
		said, saidLen := pointer("the handler failed with a text that is not UTF-8")
		made = C.go_error_new(C.MICRO_INTERNAL, 0, none, noneLen, said, saidLen)
	}
	for _, detail := range failure.Details {
		name, nameLen := pointer(detail.Name)
		value, valueLen := pointer(detail.Value)
		C.go_error_attach(made, name, nameLen, value, valueLen)
	}
	C.go_reply_error(runtime.runtime, C.micro_id(i.ID), made, 1, tail, tailLen)
}

// SetHeaders sets the headers of the answer.
func (i *Inbound) SetHeaders(block []byte) {
	runtime := i.server.runtime
	if runtime.gate.enter() {
		data, size := pointer(block)
		C.go_call_headers(runtime.runtime, C.micro_id(i.ID), data, size)
		runtime.gate.leave()
	}
}

// SendHeaders sends them now, before the first message of a stream.
func (i *Inbound) SendHeaders() *Error {
	runtime := i.server.runtime
	if !runtime.gate.enter() {
		return errClosed
	}
	defer runtime.gate.leave()
	switch status := C.micro_call_send_headers(runtime.runtime, C.micro_id(i.ID)); status {
	case C.MICRO_OK:
		return nil
	case C.MICRO_ARG:
		return &Error{Status: Arg, ID: "micro", Message: "the answer is one message, which its headers come with"}
	default:
		return ErrStale
	}
}

// Describe is a JSON object with service, endpoint, caller, peer, trace_id and span_id; nothing where the call is over.
func (i *Inbound) Describe() []byte {
	runtime := i.server.runtime
	if !runtime.gate.enter() {
		return nil
	}
	defer runtime.gate.leave()
	var out C.micro_bytes
	if C.micro_call_describe(runtime.runtime, C.micro_id(i.ID), &out) != C.MICRO_OK {
		return nil
	}
	defer C.micro_bytes_release(out)
	return C.GoBytes(unsafe.Pointer(out.ptr), C.int(out.len))
}
