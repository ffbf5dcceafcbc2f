package micro_test

import (
	"context"
	"encoding/xml"
	"strings"
	"testing"

	micro "github.com/micro/micro/bindings/go"
	"github.com/micro/micro/bindings/go/client"
	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/server"
)

type inXML struct{}

func (inXML) Marshal(message any) ([]byte, error)   { return xml.Marshal(message) }
func (inXML) Unmarshal(data []byte, into any) error { return xml.Unmarshal(data, into) }

func TestAContentTypeOfTheProgramsOwn(t *testing.T) {
	must(t, micro.RegisterCodec("test-xml", inXML{}))
	seen := make(chan string, 1)
	_, caller := serve(t, func(ctx context.Context, who person) (greeting, error) {
		return hello(ctx, who)
	}, micro.WrapHandler(func(next server.HandlerFunc) server.HandlerFunc {
		return func(ctx context.Context, req server.Request, rsp any) error {
			raw, _ := req.Read()
			seen <- req.ContentType() + " " + string(raw)
			return next(ctx, req, rsp)
		}
	}))
	var reply greeting
	must(t, caller.Call(t.Context(), caller.NewRequest("test", "Test.Do", person{"Ada"}, client.WithContentType("test-xml")), &reply))
	same(t, reply.Text, "Hello, Ada!")
	same(t, <-seen, "application/grpc+test-xml <person><Name>Ada</Name></person>")
	err := caller.Call(t.Context(), caller.NewRequest("test", "Test.Do", person{"Ada"}, client.WithContentType("test-yaml")), &reply)
	same(t, errors.CodeFor(err), errors.CodeInvalidArgument)
	same(t, strings.Contains(err.Error(), "test-yaml"), true)
}
