// Package codec makes bytes of messages, and messages of bytes.
package codec

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/native"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// Codec is one of the program's own.
type Codec interface {
	Marshal(message any) ([]byte, error)
	Unmarshal(data []byte, into any) error
}

// own are the program's, by their numbers.
var own struct {
	sync.RWMutex
	codecs map[uint32]Codec
	names  map[string]uint32
}

// Register adds one.
func Register(name string, added Codec) error {
	number, failure := native.Codec(name)
	if failure != nil {
		return errors.FromNative(failure, nil)
	}
	own.Lock()
	defer own.Unlock()
	if own.codecs == nil {
		own.codecs, own.names = map[uint32]Codec{}, map[string]uint32{}
	}
	own.codecs[number], own.names[name] = added, number
	return nil
}

func added(number uint32) Codec {
	if number <= native.Text {
		return nil
	}
	own.RLock()
	defer own.RUnlock()
	return own.codecs[number]
}

func named(number uint32) string {
	if name, ok := names[number]; ok {
		return name
	}
	own.RLock()
	defer own.RUnlock()
	for name, known := range own.names {
		if known == number {
			return name
		}
	}
	return "?"
}

var names = map[uint32]string{native.Proto: "protobuf", native.JSON: "JSON", native.Bytes: "bytes", native.Text: "text"}

// go-micro's two sides write different JSON of protobuf messages, and read either.
var (
	ofRequests = protojson.MarshalOptions{}
	ofReplies  = protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}
	lenient    = protojson.UnmarshalOptions{DiscardUnknown: true}
)

// Message is a value as a protobuf message, of either API of Go, or nil.
func Message(value any) proto.Message {
	switch value := value.(type) {
	case proto.Message:
		return value
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(value)
	}
	return nil
}

// Natural is the codec of a message for which no other was asked.
func Natural(message any) uint32 {
	switch message := message.(type) {
	case []byte, *[]byte:
		return native.Proto
	default:
		if Message(behind(message)) != nil {
			return native.Proto
		}
	}
	return native.JSON
}

// behind is what a pointer to a pointer, to bytes or to text points to.
func behind(message any) any {
	switch message := message.(type) {
	case []byte, string, json.RawMessage, proto.Message:
		return message
	case *[]byte:
		return *message
	case *string:
		return *message
	case *any:
		return behind(*message)
	}
	value := reflect.ValueOf(message)
	if value.Kind() == reflect.Pointer && !value.IsNil() && value.Elem().Kind() == reflect.Pointer {
		return value.Elem().Interface()
	}
	return message
}

// Encode is the bytes of a message in a codec. `what` is named by the error when that cannot be.
func Encode(message any, codec uint32, what string, reply bool) ([]byte, error) {
	switch raw := message.(type) {
	case []byte:
		return raw, nil
	case *[]byte:
		if codec <= native.Text {
			return *raw, nil
		}
	}
	message = behind(message)
	var err error
	if by := added(codec); by != nil {
		var out []byte
		if out, err = by.Marshal(message); err == nil {
			return out, nil
		}
	}
	switch raw := message.(type) {
	case []byte:
		return raw, nil
	case json.RawMessage:
		return raw, nil
	case string:
		if codec == native.Text {
			return []byte(raw), nil
		}
	}
	made := Message(message)
	switch {
	case codec == native.Proto && made != nil:
		var out []byte
		if out, err = proto.Marshal(made); err == nil {
			return out, nil
		}
	case codec == native.JSON && made != nil:
		options := ofRequests
		if reply {
			options = ofReplies
		}
		var out []byte
		if out, err = options.Marshal(made); err == nil {
			return out, nil
		}
	case codec == native.JSON:
		var out []byte
		if out, err = json.Marshal(message); err == nil {
			return out, nil
		}
	}
	hint := "a protobuf message or []byte"
	switch codec {
	case native.JSON:
		hint = "what encoding/json can write, or a protobuf message"
	case native.Bytes:
		hint = "[]byte"
	case native.Text:
		hint = "a string"
	}
	reason := ""
	if err != nil {
		reason = " (" + err.Error() + ")"
	}
	kind := errors.CodeInvalidArgument
	if reply {
		kind = errors.CodeInternal
	}
	return nil, errors.Newf(kind, "micro", "%s is %T, but the call speaks %s%s: give %s", what, message, named(codec), reason, hint)
}

// Decode reads a message into what `into` points to. `refusal` is the code of what is not of its type.
func Decode(payload []byte, codec uint32, into any, what string, refusal errors.Code) error {
	var err error
	switch into := into.(type) {
	case nil:
		return nil
	case *[]byte:
		*into = payload
		return nil
	case *json.RawMessage:
		*into = payload
		return nil
	case *any:
		if added(codec) != nil {
			break
		}
		return natural(payload, codec, into, what, refusal)
	case *string:
		if codec == native.Text {
			*into = string(payload)
			return nil
		}
	}
	if value := reflect.ValueOf(into); value.Kind() == reflect.Pointer && value.Elem().Kind() == reflect.Pointer {
		// A holder of a message, which is made for it.
		made := reflect.New(value.Type().Elem().Elem())
		if err := Decode(payload, codec, made.Interface(), what, refusal); err != nil {
			return err
		}
		value.Elem().Set(made)
		return nil
	}
	made := Message(into)
	by := added(codec)
	switch {
	case by != nil:
		err = by.Unmarshal(payload, into)
	case codec == native.JSON && made != nil:
		err = lenient.Unmarshal(payload, made)
	case codec == native.JSON:
		err = plain(payload, into)
	case made != nil:
		err = proto.Unmarshal(payload, made)
	default:
		return errors.Newf(errors.CodeUnimplemented, "micro", "%s came as %s, and %s is read from JSON: send JSON", what,
			named(codec), reflect.TypeOf(into).Elem())
	}
	if err != nil {
		return errors.Newf(refusal, "micro", "%s is no %s: %s", what, reflect.TypeOf(into).Elem(), err)
	}
	return nil
}

func natural(payload []byte, codec uint32, into *any, what string, refusal errors.Code) error {
	switch codec {
	case native.JSON:
		if err := json.Unmarshal(payload, into); err != nil {
			return errors.Newf(refusal, "micro", "%s is no JSON: %s", what, err)
		}
	case native.Text:
		*into = string(payload)
	default:
		*into = payload
	}
	return nil
}

// ByContentType is the codec of a content type, in gRPC's spelling or go-micro's.
func ByContentType(kind string) (uint32, bool) {
	switch kind {
	case "application/grpc", "application/grpc+proto", "application/grpc+protobuf", "application/protobuf", "application/proto",
		"application/octet-stream", "application/proto-rpc":
		return native.Proto, true
	case "application/grpc+json", "application/json", "application/json-rpc":
		return native.JSON, true
	case "application/grpc+bytes", "application/bytes":
		return native.Bytes, true
	case "text/plain", "application/grpc+text", "application/text":
		return native.Text, true
	}
	own.RLock()
	defer own.RUnlock()
	name := strings.TrimPrefix(strings.TrimPrefix(kind, "application/"), "grpc+")
	number, ok := own.names[name]
	return number, ok
}

// Name is that of a codec as content types of gRPC have it.
func Name(codec uint32) string {
	switch codec {
	case native.JSON:
		return "application/grpc+json"
	case native.Bytes:
		return "application/grpc+bytes"
	case native.Text:
		return "application/grpc+text"
	case native.Proto:
		return "application/grpc+proto"
	}
	return "application/grpc+" + named(codec)
}
