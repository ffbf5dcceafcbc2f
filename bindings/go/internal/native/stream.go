package native

// #include "shim.h"
import "C"

import (
	"context"
	"sync"
	"sync/atomic"
)

// Messages a stream may be ahead of its reader: while it is not known how large they are, and then, with about how many bytes.
const (
	firstWindow = 32
	window      = 256
	windowBytes = 1 << 20
)

// Received is a message of a stream.
type Received struct {
	Payload []byte
	Flags   uint16
	// Of a message that is lent until something is said of it.
	Lent *Lent
}

// Lent is a message of a topic beside its payload.
type Lent struct {
	ID   ID
	Meta []byte
}

// Stream is messages on their way in, and room for messages on their way out: of a stream that this side opened, of a watch, or
// of a call that came in.
type Stream struct {
	runtime *Runtime
	client  *Client
	id      atomic.Uint64
	opened  chan struct{}
	over    chan struct{}
	room    chan struct{}
	// That there is something in `came`, or never will be.
	arrived chan struct{}

	// Of the reader alone: what it took, and up to where it was read.
	taken            []Received
	read             int
	granted, largest int
	// Messages are lent, so none comes before it is asked for.
	lends bool

	lock     sync.Mutex
	came     []Received
	isOpened bool
	isClosed bool
	isOver   bool
	headers  []byte
	end      []byte
	err      *Error
}

func newStream(runtime *Runtime) *Stream {
	return &Stream{
		runtime: runtime,
		opened:  make(chan struct{}),
		over:    make(chan struct{}),
		room:    make(chan struct{}, 1),
		arrived: make(chan struct{}, 1),
	}
}

// begin lets messages come.
func (s *Stream) begin() {
	if !s.lends {
		s.grant(firstWindow)
	}
}

func (s *Stream) grant(count int) {
	s.granted += count
	if s.runtime.gate.enter() {
		C.micro_stream_grant(s.runtime.runtime, C.micro_id(s.id.Load()), C.uint32_t(count))
		s.runtime.gate.leave()
	}
}

// Told is what the queue tells of a stream that this side opened.
func (s *Stream) Told(event *Event) bool {
	switch event.Kind {
	case Opened:
		s.open(event.Meta())
	case Message, Change, Delivery:
		s.receive(event)
	case Writable:
		s.writable()
	case End, Reply:
		s.finish(event.Meta(), event.Err)
		return true
	}
	return false
}

func (s *Stream) open(headers []byte) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if !s.isOpened {
		s.isOpened, s.headers = true, headers
		close(s.opened)
	}
}

func (s *Stream) receive(event *Event) {
	received := Received{Payload: event.Payload(), Flags: event.Flags}
	if event.Kind == Delivery {
		received.Lent = &Lent{event.ID, event.Meta()}
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.isClosed {
		return
	}
	// No more come than were granted.
	if s.came = append(s.came, received); len(s.came) == 1 {
		ring(s.arrived)
	}
}

func (s *Stream) writable() { ring(s.room) }

// ring has one who waits, or comes to wait, go on.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// close says that no more messages come; the stream is locked.
func (s *Stream) close() {
	if !s.isClosed {
		s.isClosed = true
		ring(s.arrived)
	}
}

// last says that no more messages come, and why, where that is a failure.
func (s *Stream) last(err *Error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.close()
}

func (s *Stream) finish(meta []byte, err *Error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.isOver {
		return
	}
	s.isOver, s.end, s.err = true, meta, err
	if !s.isOpened {
		s.isOpened = true
		close(s.opened)
	}
	s.close()
	close(s.over)
}

// Next is the next message; false after the last, where Err says how it ended. One goroutine reads at a time.
func (s *Stream) Next() (Received, bool) {
	if s.lends {
		s.grant(1)
	}
	for s.read == len(s.taken) {
		if !s.take() {
			return Received{}, false
		}
	}
	message := s.taken[s.read]
	s.taken[s.read] = Received{}
	s.read++
	s.granted--
	if s.lends {
		return message, true
	}
	s.largest = max(s.largest, len(message.Payload), 1)
	// As many as there is room for; a stream of large messages has few of them under way.
	if room := max(1, min(window, windowBytes/s.largest)); s.granted <= room/2 {
		s.grant(room - s.granted)
	}
	return message, true
}

// take waits for messages, and takes all there are; false after the last.
func (s *Stream) take() bool {
	for {
		s.lock.Lock()
		if len(s.came) > 0 {
			// The two change places, so neither is made anew.
			s.taken, s.came = s.came, s.taken[:0]
			s.read = 0
			s.lock.Unlock()
			return true
		}
		closed := s.isClosed
		s.lock.Unlock()
		if closed {
			// For others that come here.
			ring(s.arrived)
			return false
		}
		<-s.arrived
	}
}

// Opened waits for the headers, and returns their block.
func (s *Stream) Opened(ctx context.Context) ([]byte, error) {
	select {
	case <-s.opened:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.headers, nil
}

// Over is closed once the stream is over.
func (s *Stream) Over() <-chan struct{} { return s.over }

// End is what came with the end, and how it ended: headers and trailers, and the failure if it was one.
func (s *Stream) End() (meta []byte, err *Error, over bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.end, s.err, s.isOver
}

// Broken is why no more messages come, where that is a failure.
func (s *Stream) Broken() *Error {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.err
}

// ErrStale is what a stream that is over, or closed for sending, says to those who send.
var ErrStale = &Error{Status: Stale, ID: "micro", Message: "the stream is over"}

// Send sends a message once there is room.
func (s *Stream) Send(message []byte) *Error {
	data, size := pointer(message)
	for {
		if !s.runtime.gate.enter() {
			return errClosed
		}
		status := C.go_send(s.runtime.runtime, C.micro_id(s.id.Load()), data, size)
		s.runtime.gate.leave()
		switch status {
		case C.MICRO_OK:
			return nil
		case C.MICRO_FULL:
			select {
			case <-s.room:
			case <-s.over:
				return ErrStale
			}
		case C.MICRO_STALE:
			return ErrStale
		case C.MICRO_CLOSED:
			return &Error{Status: Closed, ID: "micro", Message: "this side has said that it sends no more"}
		default:
			return &Error{Status: int32(status), ID: "micro", Message: "the message cannot be sent: " +
				text(C.micro_status_name(status))}
		}
	}
}

// CloseSend says that this side sends no more; harmless when repeated.
func (s *Stream) CloseSend() {
	if s.runtime.gate.enter() {
		C.micro_stream_close(s.runtime.runtime, C.micro_id(s.id.Load()))
		s.runtime.gate.leave()
	}
}

// Cancel ends it at once; harmless when late.
func (s *Stream) Cancel() { s.runtime.Cancel(ID(s.id.Load())) }
