package errors

import (
	"strconv"

	"github.com/micro/micro/bindings/go/internal/native"
)

// Code is how a call ended, in gRPC's numbers. It is an error by itself, for errors.Is(err, errors.CodeNotFound).
type Code int32

// The codes.
const (
	CodeOK Code = iota
	CodeCanceled
	CodeUnknown
	CodeInvalidArgument
	CodeDeadlineExceeded
	CodeNotFound
	CodeAlreadyExists
	CodePermissionDenied
	CodeResourceExhausted
	CodeFailedPrecondition
	CodeAborted
	CodeOutOfRange
	CodeUnimplemented
	CodeInternal
	CodeUnavailable
	CodeDataLoss
	CodeUnauthenticated
)

var names = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
	"DATA_LOSS", "UNAUTHENTICATED",
}

// String is gRPC's spelling, such as NOT_FOUND.
func (c Code) String() string {
	if c < 0 || int(c) >= len(names) {
		return "CODE(" + strconv.Itoa(int(c)) + ")"
	}
	return names[c]
}

// Error is the same.
func (c Code) Error() string { return c.String() }

// Status is go-micro's number of a code, which is like an HTTP status.
func (c Code) Status() int32 { return native.HTTP(int32(c)) }

// CodeOf is the code of go-micro's number; CodeUnknown where go-micro knows none.
func CodeOf(number int32) Code {
	switch number {
	case 200:
		return CodeOK
	case 400:
		return CodeInvalidArgument
	case 401:
		return CodeUnauthenticated
	case 403:
		return CodePermissionDenied
	case 404:
		return CodeNotFound
	case 408:
		return CodeDeadlineExceeded
	case 409:
		return CodeAlreadyExists
	case 412:
		return CodeFailedPrecondition
	case 500:
		return CodeInternal
	case 501:
		return CodeUnimplemented
	case 503:
		return CodeUnavailable
	}
	return CodeUnknown
}
