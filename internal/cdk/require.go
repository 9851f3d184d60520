package cdk

import (
	"fmt"
	"reflect"
	"slices"
)

// Require panics if a field of a construct's props has its zero value, unless the field is a bool or one of the optional
// ones. The message names the props and the field: "database.Props: InstanceClass is required".
func Require(props any, optional ...string) {
	value := reflect.ValueOf(props)
	for i := range value.NumField() {
		name := value.Type().Field(i).Name
		if field := value.Field(i); field.IsZero() && field.Kind() != reflect.Bool && !slices.Contains(optional, name) {
			panic(fmt.Sprintf("%s: %s is required", value.Type(), name))
		}
	}
}
