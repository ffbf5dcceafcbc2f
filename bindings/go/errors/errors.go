// Package errors is what goes wrong: one type, which handlers return and callers get, with the constructors of go-micro.
package errors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
)

// Error is a failure. A handler returns one, and its caller gets the same, wherever it runs.
type Error struct {
	// Id is the component that failed, such as "go.micro.client".
	Id string `json:"id,omitempty"`
	// Code is go-micro's number, which is like an HTTP status; 0 for the one that follows from Kind.
	Code int32 `json:"code,omitempty"`
	// Detail is what is wrong, for people.
	Detail string `json:"detail,omitempty"`
	// Status is the reason phrase of Code.
	Status string `json:"status,omitempty"`

	// Kind is gRPC's code; 0 for the one that follows from Code.
	Kind Code `json:"-"`
	// Details are protobuf messages that say more, for programs.
	Details []Detail `json:"-"`
	// Service and Endpoint were called, of a call that failed.
	Service, Endpoint string `json:"-"`
	// Node is the id and address of the node that was tried last; empty when none was.
	Node string `json:"-"`
	// Attempts is how often it was tried; 0 when it failed before the first time.
	Attempts int `json:"-"`
	// Reason is what kept the call from every handler, where the code alone does not tell: "no_nodes", "no_match",
	// "other_service". Empty for all that the far side said.
	Reason string `json:"-"`
	// Header and Trailer came with the failure.
	Header, Trailer metadata.MD `json:"-"`

	local  error
	native *native.Error
}

// Detail is a protobuf message attached to an error.
type Detail struct {
	// Name is the full name of its type, such as "google.rpc.BadRequest".
	Name string
	// Value is the message, serialized.
	Value []byte
}

// What this library says of itself, before anything is sent or after everything is over: for errors.Is.
var (
	ErrStale  = errors.New("the call, stream or service is over")
	ErrForked = errors.New("it was made before this process was forked")
	ErrPanic  = errors.New("a bug in libmicro")
	ErrClosed = errors.New("the client, stream or service is closed")
	ErrFull   = errors.New("a limit of this process is reached")
	ErrABI    = errors.New("the program was built for another version of libmicro")
	ErrArg    = errors.New("an argument is wrong")
)

// Error is its text, which Parse reads.
func (e *Error) Error() string {
	var out strings.Builder
	if e.Id != "" {
		out.WriteString(e.Id + ": ")
	}
	out.WriteString(e.Detail)
	fmt.Fprintf(&out, " (%d %s", e.number(), e.kind())
	if e.Endpoint != "" {
		out.WriteString("; ")
		if e.Service != "" {
			out.WriteString(e.Service + " ")
		}
		out.WriteString(e.Endpoint)
		if e.Node != "" {
			out.WriteString(" on " + e.Node)
		}
		times := "attempts"
		if e.Attempts == 1 {
			times = "attempt"
		}
		fmt.Fprintf(&out, ", %d %s", e.Attempts, times)
	}
	out.WriteString(")")
	return out.String()
}

func (e *Error) kind() Code {
	if e.Kind == CodeOK {
		return CodeOf(e.Code)
	}
	return e.Kind
}

func (e *Error) number() int32 {
	if e.Code == 0 {
		return e.kind().Status()
	}
	return e.Code
}

// Is says whether the error is of a Code, is one of go-micro's with the same number, is one of this library's own such as
// ErrClosed, or is what a context calls it.
func (e *Error) Is(target error) bool {
	switch target := target.(type) {
	case Code:
		return e.kind() == target
	case *Error:
		return e.number() == target.number() && (target.Id == "" || target.Id == e.Id)
	}
	switch target {
	case context.DeadlineExceeded:
		return e.kind() == CodeDeadlineExceeded
	case context.Canceled:
		return e.kind() == CodeCanceled
	}
	return e.local != nil && target == e.local
}

// New makes an error with go-micro's number; one it has no code for, such as 418, travels as it is.
func New(id, detail string, code int32) error {
	return &Error{Id: id, Code: code, Detail: detail, Status: http.StatusText(int(code)), Kind: CodeOf(code)}
}

// Newf makes an error with gRPC's code.
func Newf(code Code, id, format string, a ...any) *Error {
	return &Error{Id: id, Code: code.Status(), Detail: said(format, a), Status: http.StatusText(int(code.Status())), Kind: code}
}

func said(format string, a []any) string {
	if len(a) == 0 {
		return format
	}
	return fmt.Sprintf(format, a...)
}

func numbered(id string, code int32, format string, a []any) error {
	return New(id, said(format, a), code)
}

// BadRequest makes a 400 error.
func BadRequest(id, format string, a ...any) error { return numbered(id, 400, format, a) }

// Unauthorized makes a 401 error.
func Unauthorized(id, format string, a ...any) error { return numbered(id, 401, format, a) }

// Forbidden makes a 403 error.
func Forbidden(id, format string, a ...any) error { return numbered(id, 403, format, a) }

// NotFound makes a 404 error.
func NotFound(id, format string, a ...any) error { return numbered(id, 404, format, a) }

// MethodNotAllowed makes a 405 error.
func MethodNotAllowed(id, format string, a ...any) error { return numbered(id, 405, format, a) }

// Timeout makes a 408 error.
func Timeout(id, format string, a ...any) error { return numbered(id, 408, format, a) }

// Conflict makes a 409 error.
func Conflict(id, format string, a ...any) error { return numbered(id, 409, format, a) }

// InternalServerError makes a 500 error.
func InternalServerError(id, format string, a ...any) error { return numbered(id, 500, format, a) }

// Parse reads what Error has written, or go-micro's JSON. Any other text becomes the detail of an error without a code.
func Parse(text string) *Error {
	made := new(Error)
	if json.Unmarshal([]byte(text), made) == nil {
		made.Kind = kindOf(made.Code)
		return made
	}
	*made = Error{Detail: text}
	begin := strings.LastIndex(text, " (")
	if begin < 0 || !strings.HasSuffix(text, ")") {
		return made
	}
	number, rest, _ := strings.Cut(text[begin+2:len(text)-1], " ")
	code, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return made
	}
	made.Code, made.Status = int32(code), http.StatusText(int(code))
	made.Kind = kindOf(made.Code)
	name, _, _ := strings.Cut(rest, ";")
	for known, spelled := range names {
		if spelled == name {
			made.Kind = Code(known)
		}
	}
	made.Detail = text[:begin]
	if id, detail, ok := strings.Cut(made.Detail, ": "); ok && !strings.Contains(id, " ") {
		made.Id, made.Detail = id, detail
	}
	return made
}

func kindOf(code int32) Code {
	if code == 0 {
		return CodeOK
	}
	return CodeOf(code)
}

// FromError is the error within another, or one with its text as the detail; nil for nil.
func FromError(err error) *Error {
	if err == nil {
		return nil
	}
	var found *Error
	if errors.As(err, &found) {
		return found
	}
	return Parse(err.Error())
}

// Equal says whether two errors are the same one, or of this type and with one number.
func Equal(a, b error) bool {
	left, leftIs := a.(*Error)
	right, rightIs := b.(*Error)
	if leftIs != rightIs {
		return false
	}
	if !leftIs {
		return a == b
	}
	return left.number() == right.number()
}

// CodeFor is gRPC's code of any error: of one of this package, of a gRPC status, of a context, or CodeUnknown. CodeOK for nil.
func CodeFor(err error) Code {
	if err == nil {
		return CodeOK
	}
	if known := told(err); known != nil {
		return known.kind()
	}
	return CodeUnknown
}

// As finds the first error in a chain that fits, as the package errors of the standard library does.
func As(err error, target any) bool { return errors.As(err, target) }

// Is says whether an error in a chain is the target, as the package errors of the standard library does.
func Is(err, target error) bool { return errors.Is(err, target) }

var locals = map[int32]struct {
	err  error
	kind Code
}{
	native.Stale:  {ErrStale, CodeCanceled},
	native.Forked: {ErrForked, CodeFailedPrecondition},
	native.Panic:  {ErrPanic, CodeInternal},
	native.Closed: {ErrClosed, CodeCanceled},
	native.Full:   {ErrFull, CodeResourceExhausted},
	native.ABI:    {ErrABI, CodeFailedPrecondition},
	native.Arg:    {ErrArg, CodeInvalidArgument},
}
