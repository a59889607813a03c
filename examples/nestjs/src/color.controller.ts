import { Body, Controller, Delete, Get, Param, Post } from "@nestjs/common";
import { EnqueueRoute, Existing, QueryRoute } from "bear/nestjs";
import { ColorDto } from "./dto.js";

@Controller("color")
export class ColorController {
  @Get()
  @QueryRoute("color")
  all() {
    return ["all"];
  }

  @Get(":name")
  @QueryRoute("color")
  byName(@Param("name") name: string) {
    return ["named", name];
  }

  @Post()
  @EnqueueRoute("color", "CREATE_COLOR")
  create(@Body() color: ColorDto) {
    return color;
  }

  @Delete(":name")
  @EnqueueRoute("color", "DELETE_COLOR")
  remove(@Param("name", Existing("color", "named")) name: string) {
    return { name };
  }
}
