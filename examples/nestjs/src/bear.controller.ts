import { Body, Controller, Delete, Get, Param, ParseIntPipe, Post, Put, Query } from "@nestjs/common";
import { EnqueueRoute, Existing, QueryRoute } from "bear/nestjs";
import { BearDto, ChangesDto, SizesDto } from "./dto.js";

@Controller("bear")
export class BearController {
  @Get()
  @QueryRoute("bear")
  bySize(@Query() { from, to }: SizesDto) {
    return ["size", from, to];
  }

  @Get("color/:colors") // brown,black: those that have any of them
  @QueryRoute("bear")
  byColor(@Param("colors") colors: string, @Query() { from, to }: SizesDto) {
    return ["size", from, to, "colors", colors];
  }

  @Get(":id")
  @QueryRoute("bear")
  byId(@Param("id", ParseIntPipe) id: number) {
    return [id];
  }

  @Post() // sent twice under one Idempotency-Key it is one job
  @EnqueueRoute("bear", "CREATE_BEAR", ({ headers }) => ({ unique: headers["idempotency-key"] }))
  create(@Body() bear: BearDto) {
    return bear;
  }

  @Put(":id")
  @EnqueueRoute("bear", "UPDATE_BEAR")
  update(@Param("id", ParseIntPipe, Existing("bear")) id: number, @Body() changes: ChangesDto) {
    return { id, ...changes };
  }

  @Delete(":id")
  @EnqueueRoute("bear", "DELETE_BEAR")
  remove(@Param("id", ParseIntPipe, Existing("bear")) id: number) {
    return { id };
  }
}
