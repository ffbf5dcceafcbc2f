package errors

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"reflect"

	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/metadata"
)

// FromNative makes an error of the library's; `meta` came with it. For the packages of this module.
func FromNative(from *native.Error, meta []byte) error {
	if from == nil {
		return nil
	}
	made := &Error{
		Id:       from.ID,
		Code:     from.HTTP,
		Detail:   from.Message,
		Kind:     Code(from.Status),
		Service:  from.Service,
		Endpoint: from.Endpoint,
		Node:     from.Node,
		Attempts: int(from.Attempts),
		Reason:   from.Reason,
		native:   from,
	}
	if local, ok := locals[from.Status]; ok {
		made.Kind, made.local = local.kind, local.err
	} else if from.Status >= 1000 {
		made.Kind = CodeUnknown
	}
	if made.Code == 0 {
		made.Code = made.Kind.Status()
	}
	made.Status = http.StatusText(int(made.Code))
	for _, one := range from.Details {
		made.Details = append(made.Details, Detail{one.Name, one.Value})
	}
	if len(meta) > 0 {
		headers, trailers := native.ReadMeta(meta)
		made.Header, made.Trailer = metadata.FromEntries(headers), metadata.FromEntries(trailers)
	}
	return made
}

// ToNative is what the caller of a handler that returned `err` is told. For the packages of this module.
func ToNative(err error) *native.Error {
	known := told(err)
	if known == nil {
		known = &Error{Detail: err.Error(), Kind: foreign(err)}
	}
	if from := known.native; from != nil && from.Kept() && Code(from.Status) == known.Kind && from.HTTP == known.Code && from.ID == known.Id &&
		from.Message == known.Detail && len(from.Details) == len(known.Details) {
		return from
	}
	made := &native.Error{Status: int32(known.kind()), HTTP: known.Code, ID: known.Id, Message: known.Detail}
	if made.Status <= 0 || made.Status > int32(CodeUnauthenticated) {
		made.Status = int32(CodeUnknown)
	}
	if known.Kind != CodeOK && known.Code == known.Kind.Status() {
		// The number follows from the code, which says more.
		made.HTTP = 0
	}
	for _, one := range known.Details {
		made.Details = append(made.Details, native.Detail{Name: one.Name, Value: one.Value})
	}
	return made
}

// told is the error that was meant for the caller, if one was.
func told(err error) *Error {
	var found *Error
	if errors.As(err, &found) {
		return found
	}
	for at := err; at != nil; at = errors.Unwrap(at) {
		if found := status(at); found != nil {
			return found
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Detail: err.Error(), Kind: CodeDeadlineExceeded}
	case errors.Is(err, context.Canceled):
		return &Error{Detail: err.Error(), Kind: CodeCanceled}
	}
	var code Code
	if errors.As(err, &code) {
		return &Error{Detail: err.Error(), Kind: code}
	}
	return nil
}

// foreign is the code of an error of the standard library, as go-micro and its users know it.
func foreign(err error) Code {
	switch {
	case errors.Is(err, io.EOF):
		return CodeOutOfRange
	case errors.Is(err, io.ErrClosedPipe), errors.Is(err, io.ErrNoProgress), errors.Is(err, io.ErrShortBuffer),
		errors.Is(err, io.ErrShortWrite), errors.Is(err, io.ErrUnexpectedEOF):
		return CodeFailedPrecondition
	case errors.Is(err, fs.ErrInvalid):
		return CodeInvalidArgument
	case errors.Is(err, fs.ErrExist):
		return CodeAlreadyExists
	case errors.Is(err, fs.ErrNotExist):
		return CodeNotFound
	case errors.Is(err, fs.ErrPermission):
		return CodePermissionDenied
	}
	return CodeUnknown
}

// status reads an error of grpc-go without a dependency on it: what has a method GRPCStatus.
func status(err error) *Error {
	method := reflect.ValueOf(err).MethodByName("GRPCStatus")
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
		return nil
	}
	given := method.Call(nil)[0]
	if given.Kind() == reflect.Pointer && given.IsNil() {
		return nil
	}
	proto := given.MethodByName("Proto")
	if !proto.IsValid() || proto.Type().NumIn() != 0 || proto.Type().NumOut() != 1 {
		return nil
	}
	message := proto.Call(nil)[0].Interface()
	whole, ok := message.(interface {
		GetCode() int32
		GetMessage() string
	})
	if !ok {
		return nil
	}
	made := &Error{Detail: whole.GetMessage(), Kind: Code(whole.GetCode())}
	details := reflect.ValueOf(message).MethodByName("GetDetails")
	if !details.IsValid() || details.Type().NumOut() != 1 || details.Type().Out(0).Kind() != reflect.Slice {
		return made
	}
	list := details.Call(nil)[0]
	for index := range list.Len() {
		if any, ok := list.Index(index).Interface().(interface {
			GetTypeUrl() string
			GetValue() []byte
		}); ok {
			made.Details = append(made.Details, Detail{typeName(any.GetTypeUrl()), any.GetValue()})
		}
	}
	return made
}

func typeName(url string) string {
	for at := len(url) - 1; at >= 0; at-- {
		if url[at] == '/' {
			return url[at+1:]
		}
	}
	return url
}
