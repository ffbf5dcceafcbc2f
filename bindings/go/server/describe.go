package server

import (
	"reflect"

	"github.com/micro/micro/bindings/go/internal/codec"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message is the descriptor of a protobuf type, or nil.
func message(kind reflect.Type) protoreflect.MessageDescriptor {
	if kind == nil || kind.Kind() != reflect.Pointer {
		return nil
	}
	made := codec.Message(reflect.Zero(kind).Interface())
	if made == nil {
		return nil
	}
	return made.ProtoReflect().Descriptor()
}
