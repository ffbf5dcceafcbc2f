package codec

import (
	"reflect"
	"strings"
	"testing"
)

type inner struct {
	PartNo int `json:"part_no"`
}

type order struct {
	OrderID int64            `json:"order_id"`
	Parts   []inner          `json:"order_parts"`
	ByName  map[string]inner `json:"by_name"`
	Text    *string          `json:"text"`
	Any     any              `json:"any"`
	Plain   uint8
}

func TestATypeReadsItsOwnNamesAndThoseOfProtobuf(t *testing.T) {
	text := "7"
	wanted := order{OrderID: 9007199254740993, Parts: []inner{{1}}, ByName: map[string]inner{"part_no": {2}}, Text: &text, Any: "7", Plain: 3}
	for _, payload := range []string{
		`{"order_id":9007199254740993,"order_parts":[{"part_no":1}],"by_name":{"part_no":{"part_no":2}},"text":"7","any":"7","Plain":3}`,
		`{"orderId":"9007199254740993","orderParts":[{"partNo":"1","new":{"a":[1]}}],"byName":{"part_no":{"partNo":"2"}},"text":"7","any":"7","plain":"3","new":null}`,
	} {
		var read order
		if err := plain([]byte(payload), &read); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(read, wanted) {
			t.Errorf("%s is %+v", payload, read)
		}
	}
}

func TestATypeRefusesWhatItCannotBe(t *testing.T) {
	for payload, says := range map[string]string{
		`{"order_id":"seven"}`:                     "order_id",
		`{"order_id":1,"orderId":2}`:               "the field order_id comes twice",
		`{"order_id":1.5}`:                         "order_id",
		`{"orderId":"07"}`:                         "order_id",
		`{"orderParts":[{"partNo":"1"},{"a":1}]`:   "EOF",
		`{"order_id":1} {}`:                        "follows",
		`[]`:                                       "order",
		`{"orderId":"99999999999999999999999999"}`: "order_id",
	} {
		var read order
		err := plain([]byte(payload), &read)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

func TestWhatIsWrongLeavesTheTargetAlone(t *testing.T) {
	read := 4
	if err := plain([]byte(`"no"`), &read); err == nil || read != 4 {
		t.Error(err, read)
	}
	if err := plain([]byte(`"5"`), &read); err != nil || read != 5 {
		t.Error(err, read)
	}
}
